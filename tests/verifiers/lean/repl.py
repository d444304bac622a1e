"""Speaks the protocol of the community's Lean REPL, with a new process of the real Lean for each command.

A stand-in: it shows that Vervet speaks the protocol, not how the REPL behaves. Its environments are texts: an
environment is what was said before it.
"""

import json
import os
import subprocess
import sys

LEAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lean")
environments = []


def run(text):
    with open("Command.lean", "w") as file:
        file.write(text)
    argv = [LEAN, "--json", "Command.lean"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    messages = []
    for line in done.stdout.splitlines():
        value = json.loads(line)
        severity = value["severity"].replace("information", "info")
        messages.append({"severity": severity, "pos": value["pos"], "endPos": value["endPos"], "data": value["data"]})
    return messages


while line := sys.stdin.readline():
    if not line.strip():
        continue
    command = json.loads(line)
    before = environments[command["env"]] if "env" in command else ""
    text = before + command["cmd"] + "\n"
    environments.append(text)
    reply = {"env": len(environments) - 1}
    if messages := run(text):
        reply["messages"] = messages
    print(json.dumps(reply, indent=1), end="\n\n", flush=True)

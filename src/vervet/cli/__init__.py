"""The command line: one file a command. Parse, call one API function, print."""

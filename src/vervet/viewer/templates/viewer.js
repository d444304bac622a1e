"use strict";
// Live numbers and keys. Every page works without this file.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const FAST = 1500, SLOW = 8000;

  // ---- live: when the run was counted again, the page's live parts are fetched and put in place ----
  const load = (url, type) => new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = type;
    request.onload = () => request.status === 200 ? done(request.response) : failed();
    request.onerror = failed;
    request.send();
  });
  const busy = (node) => node.contains(document.activeElement) || node.querySelector("details[open]");
  const waiting = () => $(".placeholder, #live, [data-waiting]");
  let known = null;
  const refresh = async () => {
    const fresh = await load(location.href, "document");
    for (const node of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(node.id);
      // a part that somebody works in stays as it is until they leave it; one that had nothing to show does not
      if (next && !(busy(node) && !node.querySelector(".placeholder"))) {
        const made = document.importNode(next, true);
        node.replaceWith(made);
        made.dispatchEvent(new CustomEvent("vervet:new", { bubbles: true }));
      }
    }
    // the first count brings parts that were not there
    if (!document.getElementById("live-head") && fresh.getElementById("live-head")) location.reload();
  };
  const watch = async () => {
    let wait = SLOW;
    try {
      const state = await load(document.body.dataset.state, "json");
      // a curve over several runs comes without a new version of any of them
      if (waiting() || (known !== null && state.version !== known)) await refresh();
      known = state.version;
      wait = state.writing || waiting() ? FAST : SLOW;
    } catch { /* the viewer was ended, or is busy: ask again later */ }
    setTimeout(watch, document.hidden ? SLOW : wait);
  };
  if ($("[data-live]")) setTimeout(watch, 300);

  // ---- keys ----
  const dialog = $("dialog.keys"), help = $(".help");
  help.hidden = false;
  help.addEventListener("click", () => dialog.showModal());
  const rows = () => [...document.querySelectorAll("[data-rows] tbody a, [data-rows] > li a")].filter((a) => a.closest("tr, li").querySelector("a") === a);
  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    const here = document.activeElement.closest("tr, li"), at = all.findIndex((a) => a.closest("tr, li") === here);
    const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const typing = event.target.closest("input, select, textarea");
    if (typing) {
      if (event.key === "Escape") typing.blur();
      return;
    }
    const key = { ArrowLeft: event.target.closest("[tabindex='0']") ? "" : "p", ArrowRight: event.target.closest("[tabindex='0']") ? "" : "n" }[event.key] ?? event.key;
    const field = $(`[data-focus="${CSS.escape(key)}"]`), link = $(`[data-key="${CSS.escape(key)}"]`);
    if (key === "j") move(1);
    else if (key === "k") move(-1);
    else if (key === "?") dialog.showModal();
    else if (field) { field.focus(); field.select(); }
    else if (link) link.click();
    else return;
    event.preventDefault();
  });
})();

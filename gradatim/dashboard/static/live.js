// Looks again every few seconds: fetches the page that is shown, and exchanges the parts marked data-live by their ids.
// Nothing is lost without it: such pages reload by themselves then.
"use strict";
(() => {
  const SECONDS = 3;
  const parts = () => document.querySelectorAll("[data-live][id]");
  if (!parts().length) return;

  async function look() {
    if (document.hidden) return;
    let answer;
    try {
      answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    } catch {
      return; // the server is away for a moment
    }
    if (answer.redirected || !answer.ok) return location.reload();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts()) {
      const following = fresh.getElementById(part.id);
      if (!following) return location.reload();
      const busy = part.contains(document.activeElement);
      if (!busy && part.outerHTML !== following.outerHTML) part.replaceWith(document.adoptNode(following));
    }
    if (!fresh.querySelector("[data-live-page]")) clearInterval(timer);
  }

  const timer = setInterval(look, SECONDS * 1000);
})();

"use strict";
// Keeps a page up to date with what the server sends: only what differs is changed, so that the
// focus stays where it is, and what is open stays open. It asks for nothing by itself and
// presses no button; every page works without it.
(() => {
  const live = document.querySelector("[data-events]");

  // kept are attributes that belong to whoever looks at the page.
  const kept = (name) => name === "open";

  function morphAttributes(from, to) {
    for (const { name, value } of to.attributes) {
      if (!kept(name) && from.getAttribute(name) !== value) {
        from.setAttribute(name, value);
      }
    }
    for (const { name } of [...from.attributes]) {
      if (!kept(name) && !to.hasAttribute(name)) {
        from.removeAttribute(name);
      }
    }
  }

  // alike: one can become the other.
  const alike = (a, b) => a && a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");

  function morphChildren(from, to) {
    const stays = new Set([...to.children].map((child) => child.id).filter(Boolean));
    for (const child of [...from.children]) {
      if (child.id && !stays.has(child.id)) {
        child.remove(); // first, so that nothing behind it has to be moved, which loses the focus
      }
    }
    let at = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      let found = at;
      if (wanted.id) {
        found = [...from.children].find((child) => child.id === wanted.id);
      }
      if (!alike(found, wanted)) {
        from.insertBefore(wanted, at);
        continue;
      }
      if (found === at) {
        at = at.nextSibling;
      } else {
        from.insertBefore(found, at);
      }
      if (wanted.nodeType !== Node.ELEMENT_NODE) {
        if (found.data !== wanted.data) {
          found.data = wanted.data;
        }
      } else {
        morphAttributes(found, wanted);
        morphChildren(found, wanted);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // Moments are shown in the browser's own time zone, ends also as what is left.
  const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  function left(until) {
    const minutes = Math.max(0, Math.round((until - Date.now()) / 60000));
    const hours = Math.floor(minutes / 60);
    return hours > 48 ? "" : ` (in ${hours > 0 ? `${hours} h ` : ""}${minutes % 60} min)`;
  }
  function localise(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const text = moment.format(at) + ("left" in time.dataset ? left(at) : "");
      if (time.textContent !== text) {
        time.textContent = text;
      }
    }
  }

  // The desktop's clock should be the visitor's, unless they say otherwise.
  const zone = document.querySelector("input[data-zone]");
  if (zone && !zone.value) {
    zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  }
  localise(document);
  if (!live) {
    return;
  }
  setInterval(() => localise(live), 30000); // a clock of our own, not a question
  function show(now) {
    if (now.running && !("running" in live.dataset)) {
      location.reload();
      return;
    }
    const next = document.createElement("template");
    next.innerHTML = now.html;
    localise(next.content);
    morphChildren(live, next.content);
    const title = live.querySelector("h1");
    if (title) {
      document.title = title.textContent;
    }
  }

  // A stream that breaks is opened again by the browser. One that was refused, as while the
  // server is replaced, is tried some times more.
  const lost = document.querySelector("#lost p");
  let tries = 0;
  function follow() {
    const source = new EventSource(live.dataset.events);
    source.onopen = () => {
      tries = 0;
      lost.hidden = true;
    };
    source.onmessage = (event) => show(JSON.parse(event.data));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) {
        lost.hidden = false;
        if (tries < 5) {
          setTimeout(follow, 2000 * 2 ** tries++ * (0.5 + Math.random()));
        }
      }
    };
  }
  follow();
})();

"use strict";
// Shows what the server tells. It asks for nothing by itself and presses no button.
const state = document.getElementById("state");
const source = new EventSource(state.dataset.events);
source.onmessage = (event) => {
  const now = JSON.parse(event.data);
  if (now.running && !("running" in state.dataset)) {
    source.close();
    location.reload();
    return;
  }
  state.innerHTML = now.html;
  document.title = state.querySelector("h1").textContent;
};
source.onerror = () => {
  if (source.readyState === EventSource.CLOSED) {
    document.getElementById("lost").hidden = false;
  }
};

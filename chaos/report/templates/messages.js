// What travels now: a stream that is open while the button is on. A filter that changes begins anew.
function tap() {
  const shown = 500;
  let source = null;
  const state = (text, bad) => {
    at("tap-state").textContent = text;
    at("tap-state").className = bad ? "bad" : "quiet";
  };
  const stop = (text) => {
    source?.close();
    source = null;
    at("tap-on").setAttribute("aria-pressed", "false");
    at("tap-on").textContent = "Listen";
    state(text, false);
  };
  const listen = () => {
    source?.close();
    at("messages").replaceChildren();
    at("tap-on").setAttribute("aria-pressed", "true");
    at("tap-on").textContent = "Pause";
    state("Listening.", false);
    const chosen = new URLSearchParams({ node: at("tap-node").value.trim(), kind: at("tap-kind").value });
    source = new EventSource(`messages?${chosen}`);
    source.onmessage = (event) => {
      const news = JSON.parse(event.data);
      if (news.error) return state(news.error, true);
      at("messages").insertAdjacentHTML("afterbegin", news.html);
      while (at("messages").children.length > shown) at("messages").lastElementChild.remove();
      state(`Listening: ${at("messages").children.length} shown, ${news.last} heard.`, false);
    };
    source.onerror = () => state("The server does not answer.", true);
  };
  at("tap").addEventListener("submit", (event) => {
    event.preventDefault();
    if (source) stop("Paused.");
    else listen();
  });
  for (const name of ["tap-node", "tap-kind"]) at(name).addEventListener("change", () => source && listen());
}

if (at("tap")) tap();

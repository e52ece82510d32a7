"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, ...children) => {
    const element = document.createElement(tag);
    element.append(...children);
    return element;
  };

  // A page: links into folded versions open them, printing shows everything, code can be copied.

  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // somebody's own idea of an address
    }
  };
  const reveal = () => {
    const target = document.getElementById(decoded(location.hash.slice(1)));
    const folded = target?.closest("details");
    if (folded && !folded.open) {
      folded.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
  addEventListener("beforeprint", () => all("details").forEach((each) => { each.open = true; }));

  if (navigator.clipboard) {
    for (const example of all(".example")) {
      const button = make("button", "Copy");
      button.type = "button";
      button.className = "copy";
      button.setAttribute("aria-label", `Copy: ${example.querySelector("figcaption").textContent}`);
      const say = (text) => {
        button.textContent = text;
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      };
      button.addEventListener("click", () => {
        const code = example.querySelector("code").textContent;
        navigator.clipboard.writeText(code).then(() => say("Copied"), () => say("Not allowed"));
      });
      example.append(button);
    }
  }

  // The index: every word must be in a name, a description, an input or an output.

  const form = document.querySelector("form.search");
  if (!form) return;
  const MOST_HITS = 6;
  const box = document.getElementById("search");
  const status = document.getElementById("status");
  const cards = new Map(all(".card").map((card) => [card.querySelector("h3 a").getAttribute("href"), card]));
  const items = JSON.parse(document.getElementById("search-data").textContent);

  // train_gpu and train-gpu are the same name.
  const pattern = (word) =>
    word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/[-_]/g, "[-_]");
  const words = () => box.value.trim().split(/\s+/).filter(Boolean).map((word) => new RegExp(pattern(word), "i"));
  const any = (wanted, ...texts) => wanted.some((word) => texts.some((text) => word.test(text)));

  const marked = (text, wanted) => {
    const either = new RegExp(wanted.map((word) => word.source).join("|"), "gi");
    const parts = [];
    let end = 0;
    for (const found of text.matchAll(either)) {
      parts.push(text.slice(end, found.index), make("mark", found[0]));
      end = found.index + found[0].length;
    }
    return [...parts, text.slice(end)];
  };

  const matches = (item, wanted) =>
    wanted.every((word) =>
      word.test(item.name) || word.test(item.text) || item.ports.some((p) => word.test(p.name) || word.test(p.text)));
  const rank = (item, wanted) =>
    !any(wanted, item.name) + !any(wanted, ...item.ports.map((port) => port.name)) + !any(wanted, item.text);

  const show = (item, card, wanted) => {
    const summary = card.querySelector(".summary");
    const hits = card.querySelector(".hits");
    card.classList.toggle("matched", wanted.length > 0);
    if (!wanted.length) {
      card.querySelector("h3 a").textContent = item.name;
      summary.textContent = item.summary;
      hits.hidden = true;
      return;
    }
    card.querySelector("h3 a").replaceChildren(...marked(item.name, wanted));
    summary.replaceChildren(...marked(any(wanted, item.text) ? item.text : item.summary, wanted));
    const named = item.ports.filter((port) => any(wanted, port.name));
    const told = item.ports.filter((port) => !named.includes(port) && any(wanted, port.text));
    const found = [...named, ...told];
    hits.replaceChildren(...found.slice(0, MOST_HITS).map((port) => {
      const link = make("a", make("code", ...marked(port.name, wanted)));
      link.href = port.href;
      return make("li", `${port.side} `, link, " — ", ...marked(port.text, wanted));
    }));
    if (found.length > MOST_HITS) hits.append(make("li", `and ${found.length - MOST_HITS} more`));
    hits.hidden = found.length === 0;
  };

  const search = () => {
    const wanted = words();
    const ranked = items.map((item) => [item, cards.get(item.href), matches(item, wanted)]);
    if (wanted.length) ranked.sort(([a], [b]) => rank(a, wanted) - rank(b, wanted));
    for (const [item, card, fits] of ranked) {
      card.hidden = !fits;
      if (fits) show(item, card, wanted);
      card.parentElement.append(card);
    }
    for (const list of all(".kind-list")) list.hidden = !list.querySelector(".card:not([hidden])");
    const count = ranked.filter(([, , fits]) => fits).length;
    status.textContent = !wanted.length ? "" : count ? `${count} of ${items.length} match.` : "Nothing matches.";
    history.replaceState(null, "", wanted.length ? `#q=${encodeURIComponent(box.value.trim())}` : "#");
  };

  const links = () => all(".card:not([hidden]) h3 a, .card:not([hidden]) .hits:not([hidden]) a");
  const move = (event, step) => {
    const order = [box, ...links()];
    const at = order.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    order[Math.min(Math.max(at + step, 0), order.length - 1)].focus();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowDown") move(event, 1);
    else if (event.key === "ArrowUp") move(event, -1);
    else if (event.key === "/" && document.activeElement !== box) {
      event.preventDefault();
      box.focus();
      box.select();
    } else if (event.key === "Escape" && box.value) {
      event.preventDefault();
      box.value = "";
      search();
      box.focus();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    links()[0]?.click();
  });
  box.addEventListener("input", search);

  form.hidden = false;
  const asked = /^#q=(.*)$/.exec(location.hash);
  if (asked) {
    box.value = decoded(asked[1]);
    search();
  }
})();

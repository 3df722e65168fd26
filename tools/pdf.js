// The book's pages in one document (tools/pdf.py). Runs in a page of the book, on the texts of others.

const place = (name, id) => `${name.replace(/\.html$/, "").replaceAll("/", "-")}--${id}`;

// Pages as [address in the book, its text], one below the other in place of what this page says.
function assemble(texts) {
  const root = new URL(".", document.baseURI);
  const online = new Map();
  const parts = texts.map(([name, text]) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    online.set(page.querySelector("link[rel=canonical]").href, name);
    return [name, page, page.querySelector("article.bd-article")];
  });
  const sections = parts.map(([name, page, article]) => {
    article.querySelectorAll("[src]").forEach((e) => { e.src = new URL(e.getAttribute("src"), new URL(name, root)); });
    article.querySelectorAll("[id]").forEach((e) => { e.id = place(name, e.id); });
    article.querySelectorAll("details").forEach((e) => { e.open = true; });
    article.querySelectorAll("script").forEach((e) => e.remove());
    article.querySelectorAll("a[href]").forEach((link) => {
      const url = new URL(link.getAttribute("href"), page.querySelector("link[rel=canonical]").href);
      const [target, id] = [online.get(url.href.replace(/#.*/, "")), decodeURIComponent(url.hash.slice(1))];
      link.href = target ? `#${place(target, id)}` : url; // what is not in the book is where it is online
    });
    const section = document.createElement("section");
    section.id = place(name, "");
    section.append(...article.childNodes);
    return section;
  });
  document.title = parts[0][1].querySelector("h1").firstChild.textContent;
  sections.slice(1).forEach((section) => { section.style.breakBefore = "page"; });
  document.querySelector("article.bd-article").replaceChildren(...sections);
}

// Once formulas are set and pictures are there: what is still wider than its place is made smaller.
async function laidOut() {
  while (!window.MathJax?.startup?.promise) await new Promise((ready) => { setTimeout(ready, 50); });
  await MathJax.startup.promise;
  await Promise.all([...document.images].map((image) => image.decode()));
  for (const wide of document.querySelectorAll("article :is(table, mjx-container[display], img)")) {
    const excess = wide.scrollWidth / Math.min(wide.clientWidth, wide.parentElement.clientWidth);
    if (excess > 1) wide.style.zoom = 1 / excess;
  }
}

// Loads what the book needs of MathJax, at half the weight of its ready-made bundles: no menu, so that formulas are no
// stops of the tab key, and each font as data. Screen readers are given MathML.
(() => {
  const folder = new URL("mathjax/", document.currentScript.src);

  function ready() {
    MathJax._.output.chtml.fonts.tex_ts.TeXFont.defaultFonts = {}; // fonts.css has them
    MathJax.startup.defaultReady();
    MathJax.startup.promise.then(() => dispatchEvent(new Event("resize"))); // scrolling.js looks again
  }

  window.MathJax = {
    loader: { load: ["core", "input/tex", "output/chtml", "a11y/assistive-mml"] },
    options: { processHtmlClass: "math", ignoreHtmlClass: "mathjax_ignore" },
    startup: { ready },
  };
  const fonts = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("fonts.css", folder) });
  const script = Object.assign(document.createElement("script"), { src: new URL("startup.js", folder) });
  document.head.append(fonts, script);
})();

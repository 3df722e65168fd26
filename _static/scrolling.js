// What scrolls sideways is a stop of the tab key, so that it can be scrolled by key, and what does not is none. Wide tables
// say more of themselves (tables.js).
(() => {
  const BOXES = "mjx-container[display], p, li, pre, .text_html, table";

  function look() {
    for (const box of document.querySelectorAll(`article :is(${BOXES})`)) {
      const scrolls = box.scrollWidth > box.clientWidth && /auto|scroll/.test(getComputedStyle(box).overflowX);
      if (scrolls) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  addEventListener("load", look);
  addEventListener("resize", look);
})();

"""Every page of every topic in a real browser: quiet, self-contained, readable in both languages and both modes."""

from __future__ import annotations

import pytest

from zhixing.explain.site import write_all

LANGUAGES = ["en", "zh"]


@pytest.fixture(scope="module", params=LANGUAGES)
def pages(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZHIXING_LANG", request.param)
        write_all(folder)
    return request.param, sorted(folder.glob("*.html"))


CUT_LABELS = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width && (box.left < frame.left - 8 || box.right > frame.right + 8 ||
                         box.top < frame.top - 8 || box.bottom > frame.bottom + 8);
  }).map(text => text.textContent); })"""


@pytest.mark.slow
def test_every_page_is_quiet_fits_and_asks_for_nothing(pages, visit) -> None:
    """No console error, no request, nothing wider than a telephone's or a desk's window, no label cut off."""
    language, paths = pages
    one, found = visit(), {}
    for path in paths:
        page = one.open_file(path)
        assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[language]
        assert page.locator("h1").is_visible()
        wide = []
        for width in (400, 1000):
            page.set_viewport_size({"width": width, "height": 900})
            wide += [width] if page.evaluate("document.documentElement.scrollWidth") > width else []
        found[path.name] = (wide, page.evaluate(CUT_LABELS))
    assert {name: faults for name, faults in found.items() if faults != ([], [])} == {}
    assert (one.requests, one.complaints) == ([], [])


def test_formulas_are_set_as_mathematics(pages, visit) -> None:
    _, paths = pages
    (path,) = [path for path in paths if path.stem == "temperature"]
    page = visit().open_file(path)
    numerator, denominator = page.evaluate(
        """(() => { const [top, bottom] = document.querySelector(".formula mfrac").children;
                    return [top.getBoundingClientRect().bottom, bottom.getBoundingClientRect().top]; })()"""
    )
    assert numerator <= denominator + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(pages, visit, scheme) -> None:
    """Every colour of text stands at 4.5 : 1 or more on what lies behind it (WCAG 2.2, 1.4.3)."""
    _, paths = pages
    for path in [path for path in paths if path.stem in ("index", "temperature", "sgd", "muon")]:
        page = visit(color_scheme=scheme).open_file(path)
        weak = page.evaluate(
            """(() => {
                 const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                 const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(channel);
                                      return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
                 const behind = e => { for (; e; e = e.parentElement) {
                   const c = getComputedStyle(e).backgroundColor;
                   if (c !== "rgba(0, 0, 0, 0)") return c; } return "rgb(255, 255, 255)"; };
                 const texts = "h1,h2,h3,p,dt,dd,th,td,li,code,span,figcaption,a,strong,math,text:not(.in)";
                 return [...document.querySelectorAll(texts)]
                   .filter(e => e.textContent.trim()).map(e => {
                     const s = getComputedStyle(e), front = e instanceof SVGElement ? s.fill : s.color;
                     const [a, b] = [light(front), light(behind(e))].sort((x, y) => y - x);
                     return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 20)]; })
                   .filter(([ratio]) => ratio < 4.5);
               })()"""
        )
        assert weak == [], path.name


def test_links_lead_from_the_index_and_back(pages, visit) -> None:
    _, paths = pages
    (index,) = [path for path in paths if path.stem == "index"]
    one = visit()
    page = one.open_file(index)
    assert page.locator("a.card").count() == len(paths) - 1
    here = {path.name for path in paths}
    assert set(page.locator("a").evaluate_all("links => links.map(a => a.getAttribute('href'))")) <= here


def test_it_fits_on_paper_in_the_colours_of_paper(pages, visit) -> None:
    _, paths = pages
    (path,) = [path for path in paths if path.stem == "sgd"]
    page = visit(viewport={"width": 688, "height": 1000}, color_scheme="dark").open_file(path)  # A4 less margins
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"

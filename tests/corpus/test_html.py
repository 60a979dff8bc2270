import time

from zhixing.corpus.html import visible_text

PAGE = """<!DOCTYPE html><html><head><title>Title</title><style>p { color: red }</style></head>
<body><h1>Head&amp;ing</h1><!-- secret --><p>One  two<br>three.</p><script>if (a<b) alert("no")</script>
<ul><li>x</li><li>y</li></ul><pre>a  b
c</pre><template><p>hidden</p></template>end</body></html>"""


def test_visible_text() -> None:
    text = visible_text(PAGE)
    for seen in ("Title", "Head&ing", "One two\nthree.", "x\n", "a  b\nc", "end"):
        assert seen in text
    for unseen in ("secret", "color", "alert", "hidden", "<"):
        assert unseen not in text


def test_hundred_thousand_nested_tags_and_a_huge_attribute() -> None:
    start = time.process_time()
    deep = "<div>" * 100_000 + "core" + "</div>" * 100_000
    assert visible_text(deep) == "core"
    assert visible_text(f'<p title="{"x" * 10_000_000}">kept</p>') == "kept"
    assert time.process_time() - start < 5


def test_unclosed_constructs_take_linear_time() -> None:
    start = time.process_time()
    for opening in ("<!--", "<![", "<a ", "<a", "</a", "<?", "<!x"):
        visible_text("words" + opening * 200_000)
    assert time.process_time() - start < 5


def test_long_runs_of_spaces_take_linear_time() -> None:
    start = time.process_time()
    for run in (" " * 1_000_000, "\n " * 500_000, "\t" * 1_000_000):
        assert visible_text(f"<pre>{run}x</pre>").endswith("x")
        assert visible_text(f"<p>{run}x</p>") == "x"
    assert time.process_time() - start < 3


def test_text_after_an_unclosed_tag_is_kept() -> None:
    assert visible_text("<p>1 < 2 and more") == "1 < 2 and more"

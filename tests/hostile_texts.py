"""Texts that try to be more than text: each must be read as it is written, wherever it stands."""

INJECTIONS = (
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    "<!--<script>window.pwned = 1</script>",
    "--><script>window.pwned = 1</script><!--",
    "<img src=x onerror='window.pwned = 1'>",
    "<img src=https://example.org/pixel.png>",
    "<svg onload='window.pwned = 1'><animate onbegin='window.pwned = 1'></svg>",
    "<iframe src='javascript:parent.pwned = 1'></iframe>",
    "<a href='javascript:window.pwned = 1'>here</a>",
    "<base href='https://example.org/'>",
    "<meta http-equiv='refresh' content='0;url=https://example.org/'>",
    "<link rel=stylesheet href=https://example.org/a.css>",
    "<style>body { display: none }</style>",
    "<form action=https://example.org/><input name=q></form>",
    "<details open ontoggle='window.pwned = 1'>",
    "</title></style></textarea></noscript><script>window.pwned = 1</script>",
    "' onmouseover='window.pwned = 1' x='",
    '" onfocus="window.pwned = 1" autofocus tabindex="1',
    "&lt;script&gt;window.pwned = 1&lt;/script&gt;",
    "&#60;script&#62;window.pwned = 1&#60;/script&#62;",
    "\\u003cscript\\u003ewindow.pwned = 1\\u003c/script\\u003e",
    "]]><script>window.pwned = 1</script>",
    "{{ 7 * 7 }}{% raw %}{{ cycler.__init__.__globals__ }}",
    "${window.pwned = 1}`${window.pwned = 1}`",
    "__proto__",
    "constructor",
    "=HYPERLINK('https://example.org','x')",
    "\u202egnp.exe\u2066 left \u200b\ufeff",
    "bell \x07 escape \x1b[31m delete \x7f",
    "line\u2028paragraph\u2029end",
    "\u0130\u0131\u1e9e\ufb01 \U0001f600 \u0301 漢字",
)
"""Markup, handlers, templates, prototype keys, formulas, and characters that nobody sees."""
ELEMENTS = "img, iframe, base, link, form, object, embed, meta[http-equiv=refresh], animate"
"""What only an injection could have put on a page."""

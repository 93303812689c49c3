"""The addresses and spellings of the suite, as URLs. `{port}` is where the canary listens, on every address."""

from ipaddress import ip_address
from urllib.parse import quote

from tests.abuse.attempts import Attempt

GROUP = "addresses"
PLAIN = "www.example"  # speaks http on the canary's port, and redirects to where it is asked
SECURE = "files.example"  # speaks https, and does likewise
PLAIN_ADDRESS, SECURE_ADDRESS, DEAD_ADDRESS = "93.184.215.14", "93.184.215.15", "93.184.215.16"
ADDRESSES = (
    *("192.0.0.192", "192.0.0.8", "192.88.99.1", "224.0.0.1", "168.63.129.16", "169.254.169.254"),
    *("::ffff:100.64.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::"),
    *("fec0::1", "ff02::1", "::127.0.0.1", "5f00::1", "3fff::1", "::1", "::", "fe80::1", "fd00::1"),
    *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.100.100.200", "255.255.255.255"),  # noqa: S104
    *("2001:0:7f00:1::", "2001:db8::1", "::ffff:127.0.0.1", "198.18.0.1", "240.0.0.1", "203.0.113.1"),
)
SPELLINGS = ("2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0x7f000001", "①②⑦.0.0.1", "0")
MORE_SPELLINGS = (
    *("127.0.0.1.", "0177.1", "0x7F.0.0.0x1", "017700000001", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "127.0.0.1%00"),
    *("127%2e0%2e0%2e1", "[fe80::1%25lo]", "[::1%25lo]", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "127.0.0.1。", "127.0.0.1..", "1.2.3.4.5"),
    *("intranet", "intranet.", "printer.local", "router.home.arpa", "metadata.google.internal", "LOCALHOST"),
)
LOCAL_NAMES = ("localhost", "localhost.", "a.localhost")
REDIRECTS = (301, 302, 303, 307, 308)
METADATA = "http://169.254.169.254/latest/meta-data/"
REDIRECT_TARGETS = ("file:///etc/passwd", "gopher://127.0.0.1:{port}/", "//127.0.0.1:{port}/")
MORE_REDIRECT_TARGETS = (
    *("http://inner.example:{port}/", "http://2130706433:{port}/", "http://[::1]:{port}/", "//localhost:{port}/"),
    *("http://user@127.0.0.1:{port}/", "http://moved.example:{port}/", "/\\127.0.0.1:{port}/", "http://a b/"),
)
STRANGE_URLS = {
    "scheme file": "file:///etc/passwd",
    "scheme ftp": "ftp://127.0.0.1:{port}/",
    "scheme gopher": "gopher://127.0.0.1:{port}/_GET",
    "scheme data": "data:application/zip;base64,UEs=",
    "scheme dict": "dict://127.0.0.1:{port}/info",
    "scheme jar": "jar:http://127.0.0.1:{port}/a.zip!/",
    "scheme unix": "unix:///run/postgresql/.s.PGSQL.5432",
    "user good": "http://good@127.0.0.1:{port}/",
    "fragment @good": "http://127.0.0.1:{port}#@good/",
    "backslash": "http://good.example\\@127.0.0.1:{port}/",
    "port 22": "http://127.0.0.1:22/",
    "port 6379": f"http://{PLAIN}:6379/",
    "port 5432": f"https://{SECURE}:5432/",
    "NUL in the host": "http://127.0.0.1\0.example:{port}/",
    "CRLF in the host": f"http://{PLAIN}\r\nHost: 127.0.0.1:{{port}}/",
}
MORE_STRANGE_URLS = {
    "user and password": f"https://{SECURE}:secret@127.0.0.1:{{port}}/",
    "encoded @": "http://127.0.0.1:{port}%40good.example/",
    "tab in the host": "http://127.0.0.1\t:{port}/",
    "space before": " http://127.0.0.1:{port}/",
    "no host": "http:///127.0.0.1:{port}/",
    "no slashes": "http:127.0.0.1:{port}/",
    "port 0": f"https://{SECURE}:0/",
    "long": f"https://{SECURE}/" + "a" * 2048,
}
NAMES = {
    PLAIN: [[PLAIN_ADDRESS]],
    SECURE: [[SECURE_ADDRESS]],
    "inner.example": [["127.0.0.1"]],
    "half-inner.example": [[PLAIN_ADDRESS, "127.0.0.1"]],
    "half-inner-6.example": [[PLAIN_ADDRESS, "::1"]],
    "alias.example": [["10.1.2.3"]],  # what a resolver makes of a CNAME
    "rebinding.example": [[PLAIN_ADDRESS], ["127.0.0.1"]],
    "moved.example": [["127.0.0.1"], [PLAIN_ADDRESS]],
    "half-dead.example": [[DEAD_ADDRESS, PLAIN_ADDRESS]],
    "database.example": [[PLAIN_ADDRESS]],
    **{f"inner-{number}.example": [[address]] for number, address in enumerate(ADDRESSES)},
}
NAMES[f"www.{SECURE}"] = NAMES[SECURE]


def list_refused(port: int) -> list[Attempt]:
    """Each leads inside, or somewhere that nobody may be led."""
    return [
        *(_refused(address, f"http://{_bracket(address)}:{port}/") for address in ADDRESSES),
        *(_refused(f"{spelling!r}", f"http://{spelling}:{port}/") for spelling in (*SPELLINGS, *MORE_SPELLINGS)),
        *(_refused(name, f"http://{name}:{port}/") for name in LOCAL_NAMES),
        *(_refused(name, f"http://{name}:{port}/", address) for name, address in _list_inner_names()),
        *(_refused(f"{status} to metadata", make_redirect(PLAIN, port, METADATA, status)) for status in REDIRECTS),
        *(
            _refused(f"redirect to {target}", make_redirect(PLAIN, port, target.format(port=port)))
            for target in (*REDIRECT_TARGETS, *MORE_REDIRECT_TARGETS)
        ),
        *(_refused(name, url.replace("{port}", str(port))) for name, url in (STRANGE_URLS | MORE_STRANGE_URLS).items()),
        _refused("https to http", make_redirect(SECURE, 443, f"http://{PLAIN}:{port}/")),
        _refused("rebinding between redirects", make_redirect("rebinding.example", port, "/")),
        _refused("certificate of another name", f"https://www.{SECURE}/"),
    ]


def list_accepted(port: int) -> list[Attempt]:
    return [
        Attempt(GROUP, "https", f"https://{SECURE}/", "accept"),
        Attempt(GROUP, "capitals and a dot at the end", "https://FILES.Example.:443/", "accept"),
        Attempt(GROUP, "plain http where it is allowed", f"http://{PLAIN}:{port}/", "accept"),
        Attempt(GROUP, "public address", f"http://{PLAIN_ADDRESS}:{port}/", "accept"),
        Attempt(GROUP, "redirect to https", make_redirect(PLAIN, port, f"https://{SECURE}/"), "accept"),
        Attempt(GROUP, "rebinding after the first look", f"http://rebinding.example:{port}/", "accept"),
        Attempt(GROUP, "two addresses, one dead", f"http://half-dead.example:{port}/", "accept"),
    ]


def make_redirect(host: str, port: int, target: str, status: int = 302) -> str:
    scheme = "https" if port == 443 else "http"
    return f"{scheme}://{host}:{port}/go?status={status}&to={quote(target, safe='')}"


def _list_inner_names() -> list[tuple[str, str]]:
    names = ("inner.example", "half-inner.example", "half-inner-6.example", "alias.example")
    return [(name, NAMES[name][0][-1]) for name in (*names, *(f"inner-{number}.example" for number in range(33)))]


def _refused(name: str, url: str, *secrets: str) -> Attempt:
    return Attempt(GROUP, name, url, "refuse", secrets)


def _bracket(address: str) -> str:
    return f"[{address}]" if ip_address(address).version == 6 else address

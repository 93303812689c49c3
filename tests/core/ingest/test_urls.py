from ipaddress import ip_address

import pytest

from core.ingest.addresses import is_own, is_public
from core.ingest.errors import FetchError
from core.ingest.urls import UrlPolicy, check_url

STRANGER = UrlPolicy()
LISTED = UrlPolicy(allowed_hosts=("127.0.0.1", "files.internal"))


@pytest.mark.parametrize(
    "address",
    [
        *("192.0.0.192", "192.0.0.8", "192.88.99.1", "224.0.0.1", "168.63.129.16", "169.254.169.254"),
        *("::ffff:100.64.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::"),
        *("fec0::1", "ff02::1", "::127.0.0.1", "5f00::1", "3fff::1", "::1", "::", "fe80::1", "fd00::1"),
        *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.100.100.200", "255.255.255.255"),  # noqa: S104
        *("2001:0:7f00:1::", "2001:db8::1", "::ffff:127.0.0.1", "198.18.0.1", "240.0.0.1", "203.0.113.1"),
    ],
)
def test_inner_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(("address", "own"), [("127.0.0.1", True), ("1.1.1.1", False), ("2606:4700::1111", False)])
def test_own_address_is_one_of_an_interface(address: str, own: bool) -> None:
    assert is_own(ip_address(address)) == own


@pytest.mark.parametrize(
    "url",
    [
        *("https://intranet/", "https://intranet./", "https://printer.local/", "https://metadata.google.internal/"),
        *("http://example.com/a.zip", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "data:,a"),
        *("https://user@example.com/", "https://good.com:secret@127.0.0.1/", "https://example.com:22/"),
        *("https://localhost/", "https://localhost./", "https://a.localhost/", "https://127.0.0.1/"),
        *("https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/", "https://0/"),
        *("https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest", "https://10.0.0.1#@a/"),
    ],
)
def test_url_is_not_allowed(url: str) -> None:
    with pytest.raises(FetchError) as error:
        check_url(url, STRANGER)

    assert error.value.code == "url_not_allowed"


@pytest.mark.parametrize(
    "url",
    [
        *("https://exa mple.com/", "https://example.com/\r\nHost: a", "https://①②⑦.0.0.1/", "https://example.com\\@a/"),
        *("https:///a.zip", "https://[::1/", "https://example.com:99999/", "https://a\0b/", "https://example.com/é"),
        *("https://[fe80::1%25eth0]/", "https://1.2.3.4.5/", "https://a..b/", "https://-a.com/", "https://a%2eb.com/"),
        "https://example.com/" + "a" * 2048,
    ],
)
def test_url_is_invalid(url: str) -> None:
    with pytest.raises(FetchError) as error:
        check_url(url, STRANGER)

    assert error.value.code == "url_invalid"


@pytest.mark.parametrize(
    ("url", "policy"),
    [
        ("https://example.com/a.zip?x=1", STRANGER),
        ("https://example.com:443/a.zip", STRANGER),
        ("https://1.1.1.1/a.zip", STRANGER),
        ("http://example.com/a.zip", UrlPolicy(allow_http=True)),
        ("https://Example.COM./a.zip", STRANGER),
        ("https://example.com:8443/a.zip", UrlPolicy(extra_ports=(8443,))),
        ("http://127.0.0.1:8123/a.zip", LISTED),
        ("http://FILES.internal:8123/a.zip", LISTED),
    ],
)
def test_url_is_allowed(url: str, policy: UrlPolicy) -> None:
    check_url(url, policy)


def test_host_beside_a_listed_one_is_not_allowed() -> None:
    with pytest.raises(FetchError):
        check_url("http://127.0.0.2:8123/", LISTED)

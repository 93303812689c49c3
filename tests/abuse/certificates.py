"""A certificate authority for the length of a test, by the openssl command."""

import ssl
import subprocess
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """Its certificate is `ca_file`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        config = folder / "ca.cnf"
        config.write_text(
            "[req]\ndistinguished_name = dn\nx509_extensions = ca\nprompt = no\n[dn]\nCN = Authority of a test\n"
            "[ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n"
            "subjectKeyIdentifier = hash\n"
        )
        _openssl(
            "req", "-x509", *KEY, "-config", config, "-days", 2, "-keyout", folder / "ca.key", "-out", self.ca_file
        )

    def issue(self, name: str) -> ssl.SSLContext:
        """For a server of that name."""
        request, key, certificate = (self._folder / f"{name}.{end}" for end in ("csr", "key", "pem"))
        extensions = self._folder / f"{name}.cnf"
        extensions.write_text(
            f"subjectAltName = DNS:{name}\nextendedKeyUsage = serverAuth\nauthorityKeyIdentifier = keyid\n"
        )
        _openssl("req", "-new", *KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.ca_file, "-CAkey", self._folder / "ca.key"),
            *("-CAcreateserial", "-days", 1, "-extfile", extensions, "-out", certificate),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


def _openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

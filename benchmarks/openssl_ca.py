"""An `openssl ca` with as many certificates as ours, to be asked for the same beside it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

CONFIGURATION = """
[ca]
default_ca = own
[own]
database = {home}/index.txt
serial = {home}/serial
crlnumber = {home}/crlnumber
new_certs_dir = {home}/certs
certificate = {home}/ca.pem
private_key = {home}/ca.key
default_md = sha256
default_days = 300
default_crl_days = 7
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = any
"""


class OpenSSL:
    def __init__(self, home: Path) -> None:
        self.home = home / "openssl"
        (self.home / "certs").mkdir(parents=True)
        (self.home / "openssl.cnf").write_text(CONFIGURATION.format(home=self.home))
        for name, text in {"index.txt": "", "serial": "01\n", "crlnumber": "01\n"}.items():
            (self.home / name).write_text(text)
        (self.home / "index.txt.attr").write_text("unique_subject = no\n")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._run(
            "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=CA"
        )
        self._run("req", *new_key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=alice")

    def record(self, certificates: list) -> None:
        with (self.home / "index.txt").open("a") as file:
            file.writelines(map(self._line, certificates))

    def crl_seconds(self) -> float:
        return self._seconds("ca", "-gencrl", "-out", "crl.pem")

    def issues_a_second(self, issues: int) -> float:
        (self.home / "index.txt").write_text("")
        requests = ["leaf.csr"] * issues
        arguments = ["ca", "-batch", "-notext", "-outdir", "certs", "-infiles", *requests]
        return issues / self._seconds(*arguments)

    def signatures_a_second(self) -> float:
        told = self._run("speed", "-seconds", "1", "-mr", "ecdsap256")
        line = next(line for line in told.splitlines() if line.startswith("+F4"))
        figure = float(line.split(":")[3])  # a rate; before OpenSSL 3, seconds
        return figure if figure > 1 else 1 / figure

    def _seconds(self, command: str, *arguments: str) -> float:
        begun = time.perf_counter()
        self._run(command, *arguments)
        return time.perf_counter() - begun

    def _line(self, certificate: Any) -> str:
        ends = f"{certificate.not_after:%y%m%d%H%M%SZ}"
        revoked = certificate.revoked_at
        state, when = ("R", f"{revoked:%y%m%d%H%M%SZ},superseded") if revoked else ("V", "")
        serial = certificate.serial.upper()
        even = serial if len(serial) % 2 == 0 else f"0{serial}"
        return f"{state}\t{ends}\t{when}\t{even}\tunknown\t/CN=alice\n"

    def _run(self, command: str, *arguments: str) -> str:
        configured = [] if command == "speed" else ["-config", "openssl.cnf"]
        done = subprocess.run(
            ["openssl", command, *configured, *arguments],
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"openssl {command} failed: {done.stderr[-500:]}")
        return done.stdout

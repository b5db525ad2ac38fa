"""Signatures. A program of the releaser's makes them (`--sign PROGRAM`), so that keys may be in a token or a service:

  PROGRAM efi FILE    signs an EFI program in place
  PROGRAM file FILE   writes FILE.sig, a signature of the file

What it made is compared with the certificate (`--certificate`): a release signed by the wrong key is none.
"""

from dataclasses import dataclass
from pathlib import Path

from .files import ReleaseError, run


@dataclass(frozen=True)
class Signer:
    """The program that signs, and the certificate (PEM) that users compare with."""

    program: Path
    certificate: Path
    tools: Path

    def check(self) -> None:
        for option, path in (("--sign", self.program), ("--certificate", self.certificate)):
            if not path.is_file():
                raise ReleaseError(f"{option}: there is no file {path}")

    def sign_program(self, file: Path) -> None:
        before = file.read_bytes()
        run([self.program.absolute(), "efi", file])
        if file.read_bytes() == before:
            raise ReleaseError(f"--sign: {self.program} has not signed {file.name}")
        self.verify(file, [self.tools / "sbverify", "--cert", self.certificate, file])

    def sign_file(self, file: Path) -> None:
        signature = file.with_name(f"{file.name}.sig")
        run([self.program.absolute(), "file", file])
        if not signature.is_file():
            raise ReleaseError(f"--sign: {self.program} has not written {signature.name}")
        key = file.with_name(f"{file.name}.key")
        key.write_bytes(run([self.tools / "openssl", "x509", "-in", self.certificate, "-noout", "-pubkey"]))
        try:
            self.verify(file, [self.tools / "openssl", "dgst", "-sha256", "-verify", key, "-signature", signature, file])
        finally:
            key.unlink()

    def verify(self, file: Path, words: list[str | Path]) -> None:
        try:
            run(words)
        except ReleaseError as error:
            raise ReleaseError(f"--certificate: the signature of {file.name} is not by the key of {self.certificate}: {error}") from error

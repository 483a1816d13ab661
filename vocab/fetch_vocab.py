"""Downloads the vocabulary of KoSplinter or of Splinter from its public repository, at a pinned commit.

python vocab/fetch_vocab.py kosplinter      # 35,000 pieces, Korean; by way of KoELECTRA-v3
python vocab/fetch_vocab.py splinter        # 28,996 pieces, English, cased; Google BERT's with [QUESTION]
"""

import argparse
import hashlib
import http.client
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line
from kosplinter_common.files import atomic_file

DEFAULT_BASE_URL = "https://raw.githubusercontent.com"
TIMEOUT_SECONDS = 30
MAX_BYTES = 16 << 20  # the public files have 0.2 and 0.3 MB; an endless answer must not fill the memory


@dataclass(frozen=True)
class PublicVocabulary:
    """Where a vocabulary lies (repository, commit, path) and the sha256 of its bytes."""

    repository: str
    commit: str
    path: str
    sha256: str

    @property
    def file_name(self) -> str:
        return Path(self.path).name


VOCABULARIES = {
    "kosplinter": PublicVocabulary(
        "YunSoungKim/KoSplinter",
        "e0bd4f5",
        "pretraining/vocabs/koelectra-vocab.txt",
        "cd886ec471bbd098ae04dec5a2e01377653ecb67533684130ccfdbaf03b4c731",
    ),
    "splinter": PublicVocabulary(
        "oriram/splinter",
        "1df4c13",
        "pretraining/vocabs/bert-cased-vocab.txt",
        "a00bc330f3a0a82f55dc986b11c04bb82a8d4fa432e6675759f2856a3f701075",
    ),
}


def fetch(vocabulary: PublicVocabulary, output_file: Path, base_url: str = DEFAULT_BASE_URL) -> None:
    """Writes the vocabulary to `output_file`, whole and verified, or leaves nothing.

    Raises:
      InputError: the network fails, the answer ends early, or its sha256 is another.
    """
    url = f"{base_url}/{vocabulary.repository}/{vocabulary.commit}/{vocabulary.path}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            content = response.read(MAX_BYTES + 1)
            announced = response.headers["Content-Length"]
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"cannot download {url}: {error}") from error
    if announced is not None and len(content) < int(announced):
        raise InputError(f"{url} ended early: found {len(content)} bytes, expected {announced}")
    found = hashlib.sha256(content).hexdigest()
    if found != vocabulary.sha256:
        raise InputError(f"{url} is not the pinned file: found sha256 {found}, expected {vocabulary.sha256}")
    with atomic_file(output_file) as partial:
        partial.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(VOCABULARIES))
    parser.add_argument("--output_file", type=Path, help="default: the public file's name in this folder")
    parser.add_argument("--base_url", default=DEFAULT_BASE_URL, help="a mirror: owner/repository/commit/path below it")
    args = parser.parse_args()
    vocabulary = VOCABULARIES[args.name]
    output_file = args.output_file or Path(__file__).resolve().parent / vocabulary.file_name
    fetch(vocabulary, output_file, args.base_url)
    print(f"{output_file}: {len(output_file.read_bytes().splitlines()):,} pieces, sha256 {vocabulary.sha256}")


if __name__ == "__main__":
    exit_with_one_line(main)

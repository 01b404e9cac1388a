"""Names that a stranger gives in the hope that something outside the data folder is read or written."""

from __future__ import annotations

_UP = (
    "..",
    "../..",
    "../../etc/passwd",
    "..\\..\\etc\\passwd",
    "....//....//etc/passwd",
    "..;/etc/passwd",
    "../",
    "./../x.png",
)
_ENCODED = (
    *(
        "%2e%2e%2fetc",
        "..%2f..%2fetc",
        "%252e%252e%252fetc",
        "..%c0%afetc",
        "..%255cetc",
        "%00",
        "a%00.png",
        "%2e",
        "%5c",
    ),
    *("\uff0e\uff0e/etc", "\u2025/etc", "..\u2215etc", "..\u2044etc", "&#46;&#46;/etc", "\\u002e\\u002e/etc"),
)
_ROOTS = (
    *(
        "/",
        "/etc/passwd",
        "//evil/share",
        "///etc/passwd",
        "\\\\evil\\share\\x.png",
        "C:\\x.png",
        "C:x.png",
        "\\\\?\\C:\\x.png",
    ),
    *("/proc/self/environ", "/proc/self/fd/0", "/dev/stdin", "/dev/zero", "~", "~/.ssh/id_rsa", "~root/x.png"),
)
_ADDRESSES = (
    *("file:///etc/passwd", "http://169.254.169.254/latest", "https://evil.example/x.png", "ftp://evil/x", "data:,x"),
    *("javascript:alert(1)", "gopher://127.0.0.1:70/x", "smb://evil/x", "php://filter/x"),
)
_RUN = (
    "|id",
    "$(id)",
    "`id`",
    "a;b",
    "a&&b",
    "a\nb",
    "${HOME}",
    "{{7*7}}",
    "%s%n",
    "-rf",
    "--help",
    "@/etc/passwd",
    "<x>",
)
_ODD = (
    *(
        ".",
        "...",
        ".hidden",
        " ",
        "\t",
        "a.png ",
        "a.png.",
        "a\0.png",
        "a\n.png",
        "a\r.png",
        "\x7f",
        "*",
        "?",
        "a?b.png",
        "#",
    ),
    *("con", "nul.", "aux.png", "a:b", "a.png::$DATA", "a" * 5000, "\u202egnp.exe", "\ufeff", "a/b.png", "a\\b.png"),
)
_OURS = ("jobs.sqlite3", "../jobs.sqlite3", "server.lock", "../server.lock", "pictures", "inputs/..", "0" * 64 + ".png")

HOSTILE = [*_UP, *_ENCODED, *_ROOTS, *_ADDRESSES, *_RUN, *_ODD, *_OURS]

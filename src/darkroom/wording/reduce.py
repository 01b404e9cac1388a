"""What somebody asks for in conversation, reduced to what is to be drawn.

    Could you please make me a picture of a really cute red fox in a forest? I'd love it in watercolour, thanks!
    a cute red fox in a forest, in watercolour

Only what is known to say nothing about the picture goes: greetings, requests, politeness, thanks, fillers. A sentence
that asks nobody for anything is a description already and comes back as it is, letter for letter; "draw a fox" and
"show me a fox" are captions. Quoted text, brackets with what they hold, BREAK, wildcards and escapes are never looked
into. All patterns look at few characters from where they begin, so that the time grows with the length alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from darkroom.wording.vocabulary import article

_HIDDEN = "\x01"  # stands for what is not looked into
_GUARDED = re.compile(
    r'\\.|(?<!\w)"[^"]*"|[“„][^“”„]*”|\bBREAK\b|(?<!\w)__[^\W_](?:[\w ./-]{0,80}?[^\W_])?__(?!\w)|[()\[\]{}]', re.DOTALL
)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_STOP = re.compile(r"[.!?…]{1,9}(?=\s|$)|\n")
_S = r"\s{1,9}"
_TAIL = 90  # characters at the end of a sentence that are looked at


def _one_of(words: str) -> str:
    """Alternatives of a list; a space in one of them is any white space."""
    return "(?:" + "|".join(word.strip().replace(" ", _S) for word in words.split(",")) + ")"


_MAKE = _one_of("draw,make,create,generate,produce,show,give,get,imagine,visualise,visualize,come up with,do")
_MAKING = _one_of("drawing,making,creating,generating,producing,showing,giving,imagining")
_ADVERB = _one_of("please,kindly,maybe,perhaps,possibly,just,quickly,also,then,now,simply,really,pls,plz")
_ME = rf"(?:{_S}(?:me|us))"
_PICTURE = (
    rf"(?:(?:a|an|the|some|one|another|this){_S})?(?:(?:new|nice|single|quick|ai){_S})?(?:picture|image|pic|img)s?{_S}"
    rf"(?:of|with|showing|depicting|where|in{_S}which|(?:that|which){_S}(?:shows?|depicts?|has))\b{_S}"
)
_NUMBER = "[0-9]{1,3}|two|three|four|five|six|seven|eight|nine|ten|twelve|several|many"
_NAMED = rf"(?:a|an|the|some|one|my|our|this|another|{_NUMBER}|{_HIDDEN}+)(?![\w'])"
_THING = rf"(?={_S}(?:{_PICTURE}|{_NAMED}))"  # what is asked for comes next
_ASKED = "|".join(
    (
        rf"(?:could|can|would|will){_S}(?:you|u)(?!{_S}(?:mind|be)\b)",
        rf"(?:would{_S}it{_S}be|is{_S}it){_S}possible(?:{_S}for{_S}you)?{_S}to",
        rf"(?:could|would){_S}you{_S}be{_S}(?:able|so{_S}kind(?:{_S}as)?|kind{_S}enough){_S}to",
        rf"(?:are{_S}you{_S}able|i{_S}(?:need|want){_S}you|i(?:'d|{_S}would){_S}(?:like|love)(?:{_S}for)?{_S}you){_S}to",
        rf"do{_S}you{_S}think{_S}you{_S}(?:could|can)",
        rf"i(?:{_S}was)?{_S}wonder(?:ing)?{_S}if{_S}you{_S}(?:could|can)",
        rf"it{_S}would{_S}be{_S}(?:great|nice|lovely|cool|awesome|wonderful){_S}if{_S}you{_S}(?:could|can|would)",
    )
)
_WISHED = "|".join(
    (
        rf"(?:i|we)(?:'d|{_S}would)?(?:{_S}{_ADVERB})?{_S}(?:like|love|want|need|wish{_S}for)(?:{_S}to{_S}(?:see|have|get))?",
        rf"i(?:'m|{_S}am){_S}(?:looking|hoping|wishing){_S}for",
        rf"i{_S}was{_S}hoping{_S}(?:for|to{_S}(?:see|get|have))",
        rf"(?:what|how){_S}about|let's{_S}(?:see|have|try|do|draw|make)|let{_S}(?:me|us){_S}(?:see|have)",
        rf"(?:can|could|may|might){_S}(?:i|we)(?:{_S}please)?{_S}(?:have|get|see)",
    )
)
_KIND = rf"(?:{_S}be{_S}(?:so{_S}kind(?:{_S}as)?|kind{_S}enough|able){_S}to)?"
_IT = rf"(?:it|this|that|them|the{_S}(?:picture|image))"
_BE = rf"(?:{_S}(?:to{_S}be|to{_S}look|be|look|all))?"
_MUST = rf"(?:should|must|needs?{_S}to|has{_S}to|have{_S}to|ought{_S}to)(?:{_S}(?:also|please))?"
_REMARKS = "|".join(  # about the picture: what follows is said of it
    (
        rf"(?:and{_S}|but{_S}|also{_S}|please{_S})?(?:i|we)(?:'d|'ll|{_S}would|{_S}will)?(?:{_S}{_ADVERB})?{_S}"
        rf"(?:like|love|want|need|prefer){_S}{_IT}{_BE}",
        rf"(?:and{_S}|but{_S}|also{_S})?(?:it|this|they|the{_S}(?:picture|image)){_S}{_MUST}{_S}(?:be|look)",
        rf"(?:and{_S}|but{_S}|also{_S})?(?:please{_S})?(?:make|draw|do|have|put|set|create|keep){_S}(?:it|them)(?:{_S}so{_S}that|{_BE})",
        rf"(?:and{_S}|but{_S}|also{_S})?(?:please{_S})?make{_S}sure(?:{_S}that)?{_S}(?:it's|they're|(?:it|they){_S}(?:is|are|looks?))",
    )
)
_HAS = (
    rf"(?:(?:i|we)(?:'d|{_S}would)?{_S}(?:like|love|want){_S}{_IT}{_S}to|"
    rf"(?:it|they|the{_S}(?:picture|image)){_S}{_MUST}){_S}have"
)
_CALLED = _one_of("there,darkroom,again,everyone,all,ai,friend,guys,team")
_GREETED = rf"(?:hi|hello|hey|hiya|greetings|good{_S}(?:morning|afternoon|evening|day))(?:{_S}{_CALLED})?"
_OPENS = r"(?:please|can|could|would|will|draw|make|create|generate|show|give|i|i'd|i'm|let's|is|are|do)(?![\w])"


def _begins(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})", re.IGNORECASE)


_OPENERS = (
    _begins(rf"{_GREETED}(?=\s{{0,9}}(?:[,;:–-]|$)|{_S}{_OPENS})"),
    _begins(rf"/imagine(?:{_S}prompt)?\s{{0,3}}:?"),
    _begins(rf"(?:please|pls|plz|kindly)(?=\s{{0,9}}[,:]|{_S}(?:{_MAKE}|{_NAMED}|paint|sketch|render|design|illustrate|{_OPENS})\b|$)"),
    _begins(rf"(?:{_ASKED})(?:{_S}{_ADVERB}){{0,4}}{_KIND}(?:{_S}{_MAKE}\b{_ME}?(?:{_S}it{_S}so{_S}that)?)?(?![\w'])"),
    _begins(rf"would{_S}you{_S}mind(?:{_S}{_MAKING}{_ME}?)?(?![\w'])"),
    _begins(rf"(?:{_WISHED})(?:{_S}{_ADVERB})?{_THING}"),
    _begins(rf"(?:draw|make|create|generate|produce|give|get|bring|send)(?:{_S}please)?{_ME}(?:{_S}please)?(?![\w'])"),
    _begins(rf"(?:make|create|generate|produce|imagine|visuali[sz]e){_THING}"),
    _begins(rf"show{_ME}?{_S}please(?![\w'])"),
)  # fmt: skip
_SOFT = (_begins(rf"(?:draw|show{_ME}?){_THING}"), _begins(r"(?:ok|okay|so|well|alright|hm+|um+|uh+)(?=\s{0,9},)"))
_REMARK, _WITH = _begins(rf"(?:{_REMARKS})(?![\w'])"), _begins(rf"(?:{_HAS})(?![\w'])")
_FRAME = _begins(_PICTURE)
_NOTHING = _begins(
    rf"(?:(?:a|an|the|some|another|me){_S}){{0,2}}(?:(?:new|nice|good){_S})?(?:pictures?|images?|pics?|something|it|one)"
)
_BETWEEN = re.compile(r"[\s,;:–-]{1,9}")
_THANKS = _one_of("thanks,thank you,thx,cheers,many thanks,ty")
_MUCH = (
    rf"(?:{_S}(?:so{_S}much|very{_S}much|a{_S}lot|a{_S}bunch|in{_S}advance|again|kindly|darkroom|you|"
    rf"for{_S}(?:your|the|all){_S}[a-z' ]{{1,30}}))"
)
_ENDINGS = (
    re.compile(rf"(?:^|[,;–-])\s{{0,9}}(?:and{_S})?{_THANKS}{_MUCH}{{0,2}}$", re.IGNORECASE),
    re.compile(r"(?:^|[\s,;–-])(?:please|pls|plz)$", re.IGNORECASE),
    re.compile(
        rf"[\s,](?:if{_S}(?:possible|you{_S}(?:can|could|would|please|don't{_S}mind|like)|that's{_S}ok(?:ay)?))$",
        re.IGNORECASE,
    ),
    re.compile(rf"[\s,](?:(?:could|can|would|will){_S}you)$", re.IGNORECASE),
)  # fmt: skip
_SOFT_ENDINGS = (re.compile(rf"[\s,](?:for{_S}(?:me|us)|right{_S}now|ok(?:ay)?|asap|:-?\))$", re.IGNORECASE),)
_IDLE = re.compile(
    rf"(?:{_THANKS}{_MUCH}?|(?:i(?:'d|{_S}would|{_S}will|'ll)?{_S})?(?:really{_S})?appreciate{_S}(?:it|that|your{_S}help)|"
    rf"(?:that|it|this)(?:{_S}would|'d){_S}be{_S}(?:great|nice|lovely|awesome|perfect|cool|amazing|wonderful|appreciated)|"
    rf"you(?:'re|{_S}are){_S}(?:the{_S}best|great|awesome|welcome|amazing)|(?:can|could){_S}you{_S}do{_S}(?:that|this|it)|"
    rf"is{_S}(?:that|it|this){_S}possible|how{_S}are{_S}you(?:{_S}(?:doing|today)){{0,2}}|i{_S}hope{_S}you(?:'re|{_S}are){_S}well|"
    rf"(?:surprise{_S}me|have{_S}fun|good{_S}luck|let{_S}me{_S}know))",
    re.IGNORECASE,
)  # fmt: skip
_FILLERS = re.compile(
    rf"(?<![\w'-])(?:really|just|actually|basically|literally|maybe|perhaps|possibly|kinda|sorta|you{_S}know|i{_S}guess|"
    rf"i{_S}think|u{{1,3}}h{{1,3}}|u{{1,3}}m{{1,3}}|er{{0,2}}m|of{_S}course|some{_S}(?:kind|sort){_S}of)(?![\w'-]),?\s{{0,9}}",
    re.IGNORECASE,
)
_SPOKEN = frozenset(
    [
        "says",
        "say",
        "saying",
        "said",
        "reads",
        "read",
        "reading",
        "word",
        "words",
        "letter",
        "letters",
        "text",
        "written",
        "named",
        "called",
        "titled",
        "spells",
    ]
)
_GO_ON = re.compile(r"(?:in|on|at|by|with|from|under|as|like|and|of|near|without|seen|lit)\b")
_JOINED = re.compile(
    rf",\s{{0,9}}(?:and{_S}|but{_S}|also{_S})?(?={_REMARKS}|{_HAS}|{_ASKED}|please{_S}{_MAKE})", re.IGNORECASE
)


@dataclass(slots=True)
class _Sentence:
    """Characters from ``start`` to ``end`` are kept of a sentence; its own mark stands from ``mark`` to ``stop``."""

    start: int
    end: int
    mark: int
    stop: int
    asks: bool = False  # something was taken away that only talk has
    remark: str | None = None  # what it begins with where it goes on about the picture: "" or "with "

    @property
    def empty(self) -> bool:
        """Whether nothing is left of it."""
        return self.start >= self.end


def reduced(text: str) -> str:
    """What is to be drawn of what was said; ``text`` itself where it is a description, "" where nothing is left."""
    masked = _masked(text)
    found = [_read(masked, *span, soft=False) for span in _sentences(masked)]
    if not any(sentence.asks for sentence in found):
        return text
    found = [_read(masked, *span, soft=True) for span in _sentences(masked)]
    return _written(text, masked, [sentence for sentence in found if not sentence.empty])


def _masked(text: str) -> str:
    """The text with marks in place of what is not looked into, character for character; apostrophes are straight."""
    letters = list(text.replace("’", "'"))
    opened: list[tuple[str, int]] = []
    depth = dict.fromkeys(_PAIRS.values(), 0)
    outer: list[tuple[int, int]] = []
    for token in _GUARDED.finditer(text):
        mark = token[0]
        if mark in depth:
            opened.append((mark, token.start()))
            depth[mark] += 1
        elif mark in _PAIRS:
            if not depth[_PAIRS[mark]]:
                continue
            while True:  # what was opened within and not closed is text
                bracket, start = opened.pop()
                depth[bracket] -= 1
                if bracket == _PAIRS[mark]:
                    break
            while outer and outer[-1][0] > start:
                outer.pop()
            outer.append((start, token.end()))
        else:
            outer.append(token.span())
    for start, end in outer:
        letters[start:end] = _HIDDEN * (end - start)
    return "".join(letters)


def _sentences(masked: str) -> Iterator[tuple[int, int, int]]:
    """Where sentences, and what is joined to one by a comma, begin and end, and where the next begins."""
    at = 0
    ends = sorted([*_STOP.finditer(masked), *_JOINED.finditer(masked)], key=lambda match: match.start())
    for match in ends:
        if match.start() >= at:
            yield at, match.start(), match.end()
            at = match.end()
    yield at, len(masked), len(masked)


def _read(masked: str, start: int, end: int, stop: int, *, soft: bool) -> _Sentence:
    """A sentence without what is only talk; ``soft`` takes what may be part of a caption, too."""
    read = _Sentence(*_stripped(masked, start, end), end, stop)
    if read.empty:
        return read
    if read.end - read.start <= _TAIL and _IDLE.fullmatch(masked, read.start, read.end):
        read.start, read.asks = read.end, True
        return read
    _without_endings(masked, read, (*_ENDINGS, *(_SOFT_ENDINGS if soft else ())))
    for _ in range(8):
        for pattern in (*_OPENERS, *(_SOFT if soft else ())):
            if match := pattern.match(masked, read.start, read.end):
                break
        else:
            match = None
        remark = _WITH.match(masked, read.start, read.end) or _REMARK.match(masked, read.start, read.end)
        if remark is not None and (match is None or remark.end() > match.end()):
            with_it = _WITH.match(masked, read.start, read.end) is not None
            match, read.remark = remark, "with " if with_it else ""
        if match is None:
            break
        read.start, read.asks = match.end(), True
        if between := _BETWEEN.match(masked, read.start, read.end):
            read.start = between.end()
        if frame := _FRAME.match(masked, read.start, read.end):
            read.start = frame.end()
    read.start, read.end = _stripped(masked, read.start, read.end)
    if read.asks and read.end - read.start <= _TAIL and _NOTHING.fullmatch(masked, read.start, read.end):
        read.start = read.end
    return read


def _without_endings(masked: str, read: _Sentence, endings: tuple[re.Pattern[str], ...]) -> None:
    """Takes thanks and the like off a sentence's end, some after the other."""
    for _ in range(4):
        begin = max(read.start, read.end - _TAIL)
        last = masked[begin : read.end]
        match = next((m for pattern in endings if (m := pattern.search(last))), None)
        if match is None or _spoken(masked, begin + match.start()):
            return
        read.end, read.asks = begin + match.start(), True
        read.start, read.end = _stripped(masked, read.start, read.end)


def _stripped(masked: str, start: int, end: int) -> tuple[int, int]:
    """A stretch without the space and commas around it."""
    while start < end and masked[start] in " \t\r\n,;":
        start += 1
    while end > start and masked[end - 1] in " \t\r\n,;":
        end -= 1
    return start, end


def _spoken(masked: str, at: int) -> bool:
    """Whether the word before a place says that what follows is text: "a sign that says please"."""
    before = masked[max(0, at - 20) : at].split()
    return bool(before) and before[-1].lower() in _SPOKEN


def _written(text: str, masked: str, kept: list[_Sentence]) -> str:
    """What is left, as one text."""
    pieces: list[str] = []
    for i, sentence in enumerate(kept):
        words = (sentence.remark or "") + _plain(text, masked, sentence.start, sentence.end)
        if i:
            before = kept[i - 1]
            own = text[before.mark : before.stop]
            flowing = sentence.remark is not None or (before.asks and _GO_ON.match(words) is not None)
            if flowing or own.startswith(","):
                pieces.append(", ")
            elif before.asks or "\n" in own:
                pieces.append(". ")
            else:
                pieces.append(own.rstrip() + " ")
        pieces.append(words)
    last = kept[-1] if kept else None
    if last is not None and not last.asks:
        pieces.append(text[last.mark : last.stop].rstrip())
    return "".join(pieces)


def _plain(text: str, masked: str, start: int, end: int) -> str:
    """A stretch of the text without fillers; "a really orange cat" is "an orange cat"."""
    pieces: list[str] = []
    at = start
    for match in _FILLERS.finditer(masked, start, end):
        if _spoken(masked, match.start()):
            continue
        pieces.append(text[at : match.start()])
        at = match.end()
        following = re.match(r"[\w-]{1,40}", masked[at : min(end, at + 40)])
        indefinite = re.search(r"(?:^|\s)(an?) $", pieces[-1][-4:], re.IGNORECASE)
        if following and indefinite:
            pieces[-1] = pieces[-1][: -len(indefinite[1]) - 1] + article(following[0]) + " "
    return "".join((*pieces, text[at:end])).strip(" ,")

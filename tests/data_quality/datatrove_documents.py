"""Made-up documents on which datatrove's verdicts are kept: `python -m tests.data_quality.datatrove_documents zh`.

Prints them as JSONL. Each is some sentences, made worse in zero to three ways and more or less so, so that thresholds
are met from both sides.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator

NUMBER = 150

ENGLISH = (
    "The mill stands by the river and grinds the grain that the farmers of the valley bring to it in the autumn.",
    "A stone of that size is turned by water alone, and it has been turned so for two hundred years.",
    "Her grandfather wrote down what came in and what went out, and she still has the books.",
    "It was said that the wheel could be heard from the church with the wind in the west.",
    "Of the three mills that were built that year only this one was left when the war had ended.",
    "You have to clean the channel with a rake before the leaves are carried to the gate.",
    "Flour that is ground slowly stays cool, and bread that is made of it keeps for a week.",
    "The miller and his daughter live with a dog and some hens in the house behind it.",
    "What the law asks of a dam was not known to them until a letter came in the spring.",
    "Nobody had measured the fall of the water, but all of them knew that it was enough.",
    "In winter the wheel is held by ice, and then there is time to mend the sieve and the belts.",
    "Some visitors want to know how much it costs, and others only want to see the fish.",
    "That summer was so dry that the river could be crossed on foot for two months.",
    "She sells to bakers in the town, and be it little, it is enough to pay for the roof.",
    "An engineer from the city came to look at the gears and went away with a drawing.",
    "The school sends its children here each May with a teacher and with far too many questions.",
    "To turn the stone faster would be to burn the grain, and so it is not done.",
    "They have never put up a sign, and still the road to the mill is found by those who need it.",
)
CHINESE = (
    "这座磨坊在河边已经有两百年了，附近的农民都把粮食送到这里来。",
    "她的祖父把每天的收入和支出都记在本子上，那些本子现在还在。",
    "如果刮西风，在教堂里就可以听到水车的声音。",
    "那一年建的三座磨坊中，只有这一座在战争以后留了下来。",
    "树叶流到闸门以前，必须先把水渠清理干净。",
    "慢慢磨出来的面粉不会发热，用它做的面包可以放一个星期。",
    "磨坊的主人和他的女儿住在后面的房子里，还有一只狗和几只鸡。",
    "春天来了一封信，他们才知道法律对水坝有什么要求。",
    "没有人测量过水的落差，但是大家都知道这是够的。",
    "到了冬天水车被冰冻住，于是就有时间修理筛子和皮带。",
    "有的客人想知道价钱，有的客人只是想看看河里的鱼。",
    "那个夏天非常干旱，有两个月人们可以走过河去。",
    "她把面粉卖给城里的面包店，虽然不多，但是修屋顶的钱够了。",
    "城里来的工程师看了齿轮，画了一张图就走了。",
    "学校每年五月都让孩子们来这里，他们的问题总是很多。",
    "石磨转得太快会把粮食烧坏，所以从来不这样做。",
)
WORDS = ("xylograph", "quern", "spindle", "hopper", "leat", "sluice", "tailrace", "damsel", "bolter", "millrind")
BOILERPLATE = {
    "en": ("Read our privacy policy.", "Please enable javascript to go on.", "Share", "All rights reserved"),
    "zh": ("版权所有", "点击查看更多", "上一页 下一页", "分享到微博"),
}


def documents(language: str) -> Iterator[tuple[str, str]]:
    """Id and text of each."""
    for number in range(NUMBER):
        draw = random.Random(f"{language} {number}")
        sentences = list(ENGLISH if language == "en" else CHINESE)
        draw.shuffle(sentences)
        lines = [
            (" " if language == "en" else "").join(sentences[at : at + draw.randint(1, 3)])
            for at in range(0, draw.randint(2, len(sentences)), 2)
        ]
        for spoil in draw.sample(SPOILS, draw.randint(0, 3)):
            lines = spoil(draw, lines, language)
        yield f"{language}-{number}", draw.choice(["\n", "\n\n"]).join(lines)


def _often(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """A line again and again."""
    return lines + [draw.choice(lines)] * draw.randint(1, 8)


def _phrase(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """A few words again and again, within the lines."""
    phrase = draw.choice(lines)[: draw.randint(4, 40)]
    return [f"{line} {phrase}" * draw.randint(1, 3) for line in lines]


def _short(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """Only the beginnings."""
    return [line[: draw.randint(5, 60)] for line in lines] + [draw.choice(lines)]


def _list(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """Some lines as items."""
    share = draw.random()
    return [f"{draw.choice('-•*')} {line[:40]}" if draw.random() < share else line for line in lines]


def _trails_off(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """Some lines end with an ellipsis."""
    share = draw.random()
    return [line[:-1] + draw.choice(["...", "…"]) if draw.random() < share else line for line in lines]


def _symbols(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """Hashes, numbers and other characters between the words."""
    share, more = draw.random() / 2, draw.choice(["#", "#", "12", "...", "|", "=="])
    return [" ".join(f"{word} {more}" if draw.random() < share else word for word in line.split()) for line in lines]


def _words(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """Long or strange words without any small ones between."""
    length = draw.randint(1, 4)
    return ["".join(draw.sample(WORDS, length)) + " " + " ".join(draw.sample(WORDS, 5)) for _ in range(12)]


def _page(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """What stands around a text on a page, or a text that is none."""
    if draw.random() < 0.3:
        return [*lines, draw.choice(["Lorem ipsum dolor sit amet.", "int main() { return 0; }", "See [1][2]."])]
    return [*BOILERPLATE[language][: draw.randint(1, 4)], *lines]


def _no_stops(draw: random.Random, lines: list[str], language: str) -> list[str]:
    """Some lines without a full stop."""
    share = draw.random()
    return [line.rstrip(".。") if draw.random() < share else line for line in lines]


SPOILS: list[Callable[[random.Random, list[str], str], list[str]]] = [
    _often, _phrase, _short, _list, _trails_off, _symbols, _words, _page, _no_stops,
]  # fmt: skip


if __name__ == "__main__":
    for id, text in documents(sys.argv[1]):
        print(json.dumps({"id": id, "text": text}, ensure_ascii=False))

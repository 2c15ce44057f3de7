"""Chat templates: what is the assistant's is exact to the character, in every tokenizer and as transformers sees it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.chat.messages import BadConversation, check_messages
from lm.chat.template import TURN_TOKENS, ChatTemplate, turns_template
from lm.chat.tokens import ChatTokenizer, make_chat_tokenizer
from lm.tokenizer import chat_template, copy_tokenizer, end_of_turn_id, load_tokenizer
from tests.lm.chat_cases import conversation, turn
from tests.lm.tokenizer_kinds import CONFIGS, LOSSLESS, NASTY, trained

KINDS = list(CONFIGS)
BEGIN = "<|endoftext|>"
TEMPLATE = ChatTemplate(turns_template(BEGIN), [BEGIN, *TURN_TOKENS])


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ChatTokenizer]]:
    root = tmp_path_factory.mktemp("kinds")
    made = {}
    for kind in KINDS:
        folder = root / f"{kind}-chat"
        made[kind] = (folder, make_chat_tokenizer(trained(kind, root / kind), folder))
    return made


def test_our_template_reads_so() -> None:
    said = conversation("Hi", "Hello", "你好", "您好", system="Be kind.")
    assert TEMPLATE.text(said) == (
        "<|endoftext|><|system|>Be kind.<|end|><|user|>Hi<|end|><|assistant|>Hello<|end|>"
        "<|user|>你好<|end|><|assistant|>您好<|end|>"
    )
    assert TEMPLATE.text(said[:-1], add_generation_prompt=True) == TEMPLATE.text(said)[: -len("您好<|end|>")]
    assert "".join(piece.text for piece in TEMPLATE.pieces(said) if piece.learned) == "Hello<|end|>您好<|end|>"


@pytest.mark.parametrize("kind", KINDS)
def test_the_answers_tokens_stand_for_the_answers_and_nothing_else(
    kind: str, tokenizers: dict[str, tuple[Path, ChatTokenizer]]
) -> None:
    _, chat = tokenizers[kind]
    answers = [text for text in NASTY if text.strip()]
    given_ = [conversation(asked, answer, "and?", answer[::-1]) for asked, answer in zip(NASTY[::-1], answers)]  # noqa: B905
    for messages, found in zip(given_, chat.conversations(given_), strict=True):
        said = [message["content"] for message in messages if message["role"] == "assistant"]
        ends = np.flatnonzero(found.learned & (found.ids == chat.end))
        assert len(ends) == len(said)
        for text, end in zip(said, ends, strict=True):
            begin = end - int(np.argmin(found.learned[end::-1])) + 1  # behind the last token that is not learned
            assert found.bytes[begin:end].sum() == len(text.encode())
            if kind in LOSSLESS:
                assert chat.tokenizer.decode(found.ids[begin:end].tolist(), skip_special_tokens=False) == text
            assert chat.tokenizer.id_to_token(int(found.ids[begin - 1])) == "<|assistant|>"
        assert found.learned.sum() == sum(len(ids) for ids in _parts(chat, said)) + len(said)


def _parts(chat: ChatTokenizer, texts: list[str]) -> list[list[int]]:
    return [chat.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_gives_the_same_ids_and_the_same_mask(
    kind: str, tokenizers: dict[str, tuple[Path, ChatTokenizer]]
) -> None:
    transformers = pytest.importorskip("transformers")
    folder, chat = tokenizers[kind]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [
        "plain words",
        "模型 学习data数据，测试！",
        " two  spaces\n\n",
        "don't 3.14 (x)",
        "Crème İ 😀",
        "\nthe the the",
    ]
    if kind.startswith("wordpiece"):  # drops white space, where transformers then finds no token to begin the mask with
        texts = [text.strip() for text in texts]
    for number, text in enumerate(texts):
        said = conversation(text, texts[number - 1], "and?", texts[number - 2], system=texts[number - 3])
        [ours] = chat.conversations([said])
        found = theirs.apply_chat_template(said, return_dict=True, return_assistant_tokens_mask=True)
        assert found["input_ids"] == ours.ids.tolist()
        assert found["assistant_masks"] == ours.learned.astype(int).tolist()
        [prompt] = chat.prompts([said[:-1]])
        asked = theirs.apply_chat_template(said[:-1], add_generation_prompt=True, return_dict=True)
        assert asked["input_ids"] == prompt.ids.tolist() == ours.ids[: len(prompt)].tolist()
        assert prompt.learned.tolist() == ours.learned[: len(prompt)].tolist()


PARTS = ["<|user|>", "<|end|>", "<", "|", ">", "end", "\ufdd0", "0", "\ufdd1", "{{", "{%", " ", "\n", "中", BEGIN]


@given(st.lists(st.lists(st.sampled_from(PARTS)).map("".join), min_size=2, max_size=2))
@settings(max_examples=150, deadline=None)
def test_what_a_message_says_is_text(contents: list[str]) -> None:
    asked, answer = contents
    pieces = TEMPLATE.pieces(conversation(asked, answer))
    assert [piece.text for piece in pieces if piece.special] == [
        "<|endoftext|>",
        "<|user|>",
        "<|end|>",
        "<|assistant|>",
        "<|end|>",
    ]
    assert [(piece.text, piece.learned) for piece in pieces if not piece.special] == [
        (text, learned) for text, learned in ((asked, False), (answer, True)) if text
    ]


def test_tokens_are_appended_and_the_template_stays_with_the_tokenizer(tmp_path: Path) -> None:
    plain = trained("byte_bpe", tmp_path / "plain")
    chat = make_chat_tokenizer(plain, tmp_path / "chat")
    before, after = load_tokenizer(plain), load_tokenizer(tmp_path / "chat")
    size = before.get_vocab_size()
    assert [after.token_to_id(name) for name in TURN_TOKENS] == list(range(size, size + 4))
    assert {k: v for k, v in after.get_vocab().items() if v < size} == before.get_vocab()
    assert end_of_turn_id(before) is None
    assert end_of_turn_id(after) == chat.end == size + 3
    copy_tokenizer(tmp_path / "chat", tmp_path / "copy")
    assert chat_template(tmp_path / "copy") == chat.template.source == turns_template(BEGIN)
    again = make_chat_tokenizer(tmp_path / "copy", tmp_path / "again")  # one that can converse already
    assert again.tokenizer.get_vocab_size() == size + 4
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "chat" / name).read_bytes()
    (tmp_path / "copy" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")  # as transformers writes it
    assert chat_template(tmp_path / "copy") == "{{ messages[0]['content'] }}"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "e7: a conversation without messages"),
        ([turn("robot", "x"), turn("assistant", "y")], "e7: message 0 .'robot'.: an unknown role; there are system"),
        (conversation("x", "y")[1:], "e7: message 0 .'assistant'.: the assistant answers a user, and no user has"),
        ([turn("system", "s"), turn("assistant", "y")], "e7: message 1 .'assistant'.: the assistant answers a user"),
        (
            [*conversation("x", "y"), turn("assistant", "z")],
            "e7: message 2 .'assistant'.: two assistant turns in a row",
        ),
        ([turn("user", "x"), *conversation("x", "y")], "e7: message 1 .'user'.: two user turns in a row"),
        (conversation("x", " \n"), "e7: message 1 .'assistant'.: an empty response"),
        (conversation("x"), "e7: message 0 .'user'.: the last message is not the assistant's"),
        ([*conversation("x", "y"), turn("system", "s")], "e7: message 2 .'system'.: the system speaks first"),
        ([{"role": "user"}, turn("assistant", "y")], "e7: message 0 .'user'.: its content is no text"),
    ],
)
def test_what_is_no_conversation_is_refused_by_example_and_role(messages: list[dict[str, str]], message: str) -> None:
    with pytest.raises(BadConversation, match=message):
        check_messages(messages, "e7")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for m in messages %}", "the chat template is no Jinja"),
        ("{{ messages.__class__.__mro__ }}", "the sandbox does not allow"),
        ("{% set _ = messages.append('x') %}", "the sandbox does not allow"),
        ("{{ raise_exception('no system here') }}", "the chat template refuses: no system here"),
        ("{{ strftime_now('%Y') }}", "'strftime_now' is undefined"),
        ("{% for i in range(10**8) %}{% endfor %}", "Range too big"),
        (
            "{% for m in messages %}a: {% generation %}{{ m.content }}<|end|>{% endgeneration %}{% endfor %}",
            "must begin behind a special token",
        ),
        (
            "{% for m in messages %}<|user|>{% generation %}{{ m.content }}\n\n{% endgeneration %}{% endfor %}",
            "must begin behind a special token and end with one",
        ),
    ],
)
def test_a_template_that_cannot_be_used_says_why(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChatTemplate(source, [BEGIN, *TURN_TOKENS]).pieces(conversation("a", "b"))


def test_a_folder_without_a_usable_template_is_named(tmp_path: Path) -> None:
    plain = trained("byte_bpe", tmp_path / "plain")
    with pytest.raises(ValueError, match=r"plain: it has no chat template: `textmill instruct` makes a model with one"):
        ChatTokenizer.of(plain)
    (plain / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    with pytest.raises(ValueError, match=r"plain: the chat template does not say what the assistant's part is"):
        ChatTokenizer.of(plain)


def test_templates_of_others_work(tmp_path: Path) -> None:
    """ChatML with the generation block, as templates on the hub are written: loops, conditions, trimming, tojson."""
    plain = trained("byte_bpe", tmp_path / "plain")
    tokenizer = load_tokenizer(plain)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    source = (
        "{%- for m in messages %}\n"
        "    {%- if loop.first and m.role != 'system' %}\n"
        "{{- '<|im_start|>system ' ~ {'a': '中'} | tojson }}<|im_end|>{% endif %}\n"
        "    {%- if m.role == 'assistant' %}\n"
        "<|im_start|>{% generation %}{{ m.content | trim }}<|im_end|>{% endgeneration %}\n"
        "    {%- else %}{% if m.role == 'x' %}{% continue %}{% endif %}"
        "<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>\n"
        "    {%- endif %}\n"
        "{%- endfor %}\n"
    )
    from lm.tokenizers.spelling import Spelling

    chat = ChatTokenizer(tokenizer, source, Spelling({}))
    assert chat.template.text(conversation("Hi", "  Hello ")) == (
        '<|im_start|>system {"a": "中"}<|im_end|><|im_start|>user Hi<|im_end|><|im_start|>Hello<|im_end|>'
    )
    assert chat.end == tokenizer.token_to_id("<|im_end|>")

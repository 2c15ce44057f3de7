import email.message
import email.policy
import mailbox
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_quality.config import MailSource
from data_quality.sources import mail
from data_quality.sources.base import Record, Skip
from tests.data_quality.ingesting import ingest, write
from tests.data_quality.test_sources_streams import ref


def source(path, **options):
    return {"format": "mail", "paths": [str(path)], **options}


def message(body="Hello", **headers):
    made = email.message.EmailMessage()
    for name, value in {"From": "Jo <jo@a.org>", "To": "list@a.org", "Subject": "Hi", **headers}.items():
        made[name.replace("_", "-")] = value
    made.set_content(body)
    return made


def read_one(tmp_path, made, **options):
    """The only item that a message gives."""
    data = made if isinstance(made, bytes) else made.as_bytes()
    (tmp_path / "a.eml").write_bytes(data)
    (item,) = mail.read(ref(tmp_path / "a.eml"), MailSource(format="mail", paths=("a",), **options))
    return item


@pytest.mark.parametrize("name", ["a.mbox", "a.mbox.gz", "a.mbox.zst"])
def test_an_mbox_that_the_standard_library_wrote(tmp_path, name):
    box = mailbox.mbox(tmp_path / "box")
    bodies = ["First", "From the start of a line\n\nFrom nobody, a sentence of 1999", "第三封", ""]
    for number, body in enumerate(bodies):
        box.add(message(body, Message_ID=f"<{number}@a.org>", Date="Mon, 06 May 2024 09:08:09 +0200"))
    box.flush()
    write(tmp_path / name, (tmp_path / "box").read_bytes())
    out = ingest(tmp_path, source(tmp_path / name, on_bad_input="error"))
    assert {id: d.text for id, d in out.documents.items()} == {
        f"mail:{name}#{number}": body for number, body in enumerate(bodies, 1) if body
    }
    assert out.reasons == ["empty_document"]
    assert out.documents[f"mail:{name}#1"].metadata == {
        "from": "Jo <jo@a.org>",
        "to": "list@a.org",
        "subject": "Hi",
        "message_id": "<0@a.org>",
        "date": "2024-05-06T07:08:09+00:00",
        "content_type": "text/plain",
    }


def test_eml_files_and_encoded_headers(tmp_path):
    write(tmp_path / "in/a.eml", message(Subject="自然语言", From="张三 <z@a.org>").as_bytes())
    write(tmp_path / "in/b.eml.gz", message().as_bytes(policy=email.policy.SMTP))  # CRLF
    raw = b"Subject: =?gb2312?B?1tDOxA==?= =?big5?B?pKSk5Q==?=\r\nFrom: caf\xe9\r\n\r\ntext\r\n"
    write(tmp_path / "in/c.eml", raw)
    out = ingest(tmp_path, source(tmp_path / "in"))
    documents = {id: document for id, document in out.documents.items()}
    assert documents["mail:a.eml#1"].metadata["subject"] == "自然语言"
    assert documents["mail:a.eml#1"].metadata["from"] == "张三 <z@a.org>"
    assert documents["mail:b.eml.gz#1"].text == "Hello"
    assert documents["mail:c.eml#1"].metadata["subject"] == "中文中文"


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "big5"])
def test_transfer_encodings_and_charsets(tmp_path, encoding, charset):
    text = "自然語言處理是人工智慧的一個重要方向，=20 研究理論和方法。"
    made = email.message.EmailMessage()
    made.set_content(text, charset=charset, cte=encoding)
    assert read_one(tmp_path, made.as_bytes(policy=email.policy.SMTP)).text == text


def test_alternatives_html_only_bodies_and_attachments(tmp_path):
    made = message("The plain text")
    made.add_alternative("<p>The <b>HTML</b></p>", subtype="html")
    made.add_attachment("attached text", filename="a.txt")
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    assert read_one(tmp_path, made).text == "The plain text"
    made = message("")
    made.set_content("<p>Only <i>HTML</i> &amp; 中文</p><script>no</script>", subtype="html", charset="gb18030")
    item = read_one(tmp_path, made)
    assert (item.text, item.metadata["content_type"]) == ("Only HTML & 中文", "text/html")
    outer = MIMEMultipart()
    outer.attach(MIMEText("covering note"))
    outer.attach(MIMEMessage(message("forwarded")))
    outer.attach(MIMEText("signature"))
    assert read_one(tmp_path, outer).text == "covering note\n\nsignature"


def test_limits(tmp_path):
    nested = MIMEText("inside")
    for _ in range(40):
        nested_in = MIMEMultipart()
        nested_in.attach(nested)
        nested = nested_in
    assert read_one(tmp_path, nested).text == "inside"
    header = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(1000))
    item = read_one(tmp_path, header + b"\ninside")
    assert (item.reason, item.detail) == ("too_nested", "1000 multipart and message parts; at most 50")
    html = b"Content-Type: text/html\n\n" + b"<div>" * 100_000
    assert read_one(tmp_path, html).reason == "too_nested"
    assert read_one(tmp_path, b"Content-Type: text/plain; charset=gbk\n\n" + b"\xff\x81 " * 50).reason == "bad_encoding"


def test_a_huge_message_is_read_past(tmp_path):
    box = b"".join(
        b"From a@b Mon May  6 07:08:09 2024\nSubject: %d\n\n%s\n\n" % (n, b"x" * (n * 900)) for n in range(1, 4)
    )
    write(tmp_path / "a.mbox", box.replace(b"Subject: 2\n", b"Subject: 2\n" * 500))
    out = ingest(tmp_path, source(tmp_path / "a.mbox", max_record_bytes=4000))
    assert [len(text) for text in out.texts] == [900, 2700]
    assert [(row["record"], row["reason"]) for row in out.skipped] == [(2, "too_long")]


def test_memory_does_not_grow_with_the_mailbox(tmp_path):
    import tracemalloc

    one = b"From a@b Mon May  6 07:08:09 2024\nSubject: x\n\n" + b"some text\n" * 400 + b"\n"
    huge = b"From a@b Mon May  6 07:08:09 2024\n\n" + (b"y" * 999 + b"\n") * 5000 + b"\n"
    peaks = []
    for times in (100, 400):
        (tmp_path / "a.mbox").write_bytes(one * times + huge + one)
        reference = ref(tmp_path / "a.mbox")
        tracemalloc.start()
        items = sum(1 for _ in mail.read(reference, MailSource(format="mail", paths=("a",), max_record_bytes=50_000)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert items == times + 2
    assert peaks[1] < 1.2 * peaks[0] < 10_000_000


LINES = [
    line.encode("latin-1") + b"\n"
    for line in (
        *("From a@b Mon May  6 07:08:09 2024", "From ", "", "--b", "--b--", "text", ">From x", "\xff", "\0", " folded"),
        *("Content-Type: multipart/mixed; boundary=b", "Content-Type: text/html; charset*=gbk''x"),
        *("Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "Subject: =?x?q?=FF?= =?gb2312?B?1?="),
        *("Date: x", "Date: Mon, 99 Foo 99999 99:99:99 +9999", "Content-Disposition: attachment; filename*=''"),
        *('Content-Type: text/plain; charset="', "Content-Transfer-Encoding: uuencode", "begin 1 x", "charset=x"),
    )
]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200, deadline=None
)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(LINES) | st.binary(max_size=20), max_size=25).map(b"".join))
def test_any_bytes_are_read_or_refused(tmp_path, data):
    (tmp_path / "a.mbox").write_bytes(data)
    for item in mail.read(ref(tmp_path / "a.mbox"), MailSource(format="mail", paths=("a",), max_record_bytes=300)):
        assert isinstance(item, Record | Skip)
        if isinstance(item, Record):
            assert all(value.encode() for value in item.metadata.values() if value)

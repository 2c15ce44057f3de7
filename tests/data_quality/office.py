"""Writes EPUB, DOCX and PDF files for the tests of their readers."""

import io
import zipfile
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/content.opf"/></rootfiles></container>'
)
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def archive(entries: dict[str, str | bytes]) -> bytes:
    """A ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return buffer.getvalue()


def epub(chapters: dict[str, str], spine: list[str] | None = None, language: str = "en-GB", **more: Any) -> bytes:
    """A book of `chapters` (file name -> body, or a whole document where it begins with `<?` or `<!`)."""
    items = "".join(
        f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(chapters)
    )
    order = [*chapters].index
    refs = "".join(f'<itemref idref="i{order(name)}"/>' for name in (spine or chapters))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:title>A  Book</dc:title><dc:creator>One</dc:creator><dc:creator>Two</dc:creator>"
        f'<dc:language>{language}</dc:language></metadata><manifest><item id="nav" href="nav.xhtml" '
        f'media-type="application/xhtml+xml" properties="nav"/><item id="p" href="p.png" media-type="image/png"/>'
        f'{items}</manifest><spine><itemref idref="nav"/>{refs}</spine></package>'
    )
    html = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>no</title></head><body>{}</body></html>'
    files = {
        f"OEBPS/{name}": body if body.startswith(("<?", "<!")) else html.format(body) for name, body in chapters.items()
    }
    return archive(
        {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER, "OEBPS/content.opf": package, **files}
        | more
    )


def paragraph(text: str, properties: str = "") -> str:
    """A paragraph of a Word document."""
    return f'<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def docx(body: str, **more: Any) -> bytes:
    """A Word document with this content of its body."""
    return archive(
        {
            "word/document.xml": f'<w:document xmlns:w="{W}" xmlns:mc="x"><w:body>{body}</w:body></w:document>',
            "docProps/core.xml": '<c xmlns:dc="d"><dc:title>Title</dc:title><dc:creator>Author</dc:creator></c>',
        }
        | more
    )


Placed = tuple[float, float, str]
"""x and y in points from the lower left corner, and a line of text."""


def pdf(pages: list[list[Placed]], size: float = 10, font: str = "Times-Roman", **options: Any) -> bytes:
    """A PDF with lines at their places."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=True, **options)
    canvas.setTitle("Title")
    canvas.setAuthor("Author")
    for page in pages:
        canvas.setFont(font, size)
        for x, y, text in page:
            canvas.drawString(x, y, text)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()

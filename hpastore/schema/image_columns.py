"""What the label table says of an image, as one JSON object for views."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ScalarSelect, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from hpastore.schema.tables import Image, ImageColumn
from hpastore.schema.types import TEXT


def columns_json() -> ScalarSelect[str]:
    """Give an image's columns by name, ascending: ``{"cell line":"U2OS","plate":"P1"}``.

    A subquery of each row's image, which costs nothing in a query that does not name it.
    """
    columns = select(ImageColumn.name, ImageColumn.value).order_by(ImageColumn.name)
    of_image = columns.where(ImageColumn.image_id == Image.id).correlate(Image).subquery("ordered")
    return select(JsonObject(of_image.c.name, of_image.c.value)).scalar_subquery()


class JsonObject(FunctionElement[str]):
    """Aggregate names and values to the text of a JSON object: the same bytes on both databases."""

    name = "json_object"
    type = TEXT
    inherit_cache = True


@compiles(JsonObject, "sqlite")
def _on_sqlite(element: JsonObject, compiler: Any, **options: Any) -> str:
    """Join rows that are ordered already."""
    name, value = (_quoted(compiler.process(clause, **options)) for clause in element.clauses)
    return f"'{{' || coalesce(group_concat({name} || ':' || {value}, ','), '') || '}}'"


def _quoted(text: str) -> str:
    """Write a text as JSON, as PostgreSQL's ``to_json`` does.

    SQLite 3.40 allows no function of JSON in a view unless it trusts the schema, which our sandbox
    does not.  Few texts have a character to escape; of these, each in turn is replaced.
    """
    to_escape = "'*[\"\\' || char(1) || '-' || char(31) || ']*'"
    escaped = _ESCAPED.format(text=text)
    return f"'\"' || CASE WHEN {text} GLOB {to_escape} THEN ({escaped}) ELSE {text} END || '\"'"


_ESCAPED: Final = r"""
WITH RECURSIVE escaped(code, content) AS (
  SELECT 1, replace(replace({text}, '\', '\\'), '"', '\"')
  UNION ALL
  SELECT code + 1, replace(content, char(code), CASE code
    WHEN 8 THEN '\b' WHEN 9 THEN '\t' WHEN 10 THEN '\n' WHEN 12 THEN '\f' WHEN 13 THEN '\r'
    ELSE '\u00' || (code / 16) || substr('0123456789abcdef', code % 16 + 1, 1) END)
  FROM escaped WHERE code < 32)
SELECT content FROM escaped WHERE code = 32
"""


@compiles(JsonObject, "postgresql")
def _on_postgresql(element: JsonObject, compiler: Any, **options: Any) -> str:
    """Join rows; ``json_object_agg`` would put spaces around the colons and commas."""
    name, value = (compiler.process(clause, **options) for clause in element.clauses)
    member = f"CAST(to_json({name}) AS text) || ':' || CAST(to_json({value}) AS text)"
    members = f"string_agg({member}, ',' ORDER BY {name} COLLATE \"C\")"
    return f"'{{' || coalesce({members}, '') || '}}' COLLATE \"C\""

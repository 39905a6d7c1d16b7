"""What the InfiniBand and topology tools say: one module for each tool's text, one that joins them into a
fabric.

The parsers are pure, ``parse(text)`` to frozen dataclasses: forgiving about what surrounds a text (prompts,
colours, indentation, CRLF, warnings), strict about what it means. A text of another tool raises ``UnknownToolOutput``;
a line that was not understood is kept in ``unparsed``; a field that is not there is None, never 0.
"""

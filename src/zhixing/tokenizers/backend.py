"""The ``tokenizers`` library, opened so that text never becomes a special token and nothing is cut or
padded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from zhixing.errors import ModelFolderError
from zhixing.language import tr

if TYPE_CHECKING:
    import tokenizers

    from zhixing.tokenizers.pieces import Json


def open_backend(document: Json, where: str = "tokenizer.json") -> tokenizers.Tokenizer:
    """Return the library's tokenizer of ``document``.

    Raises:
        ModelFolderError: the library refuses the document.
    """
    import tokenizers

    try:
        backend = tokenizers.Tokenizer.from_str(json.dumps(document))
    except BaseException as error:  # the library's panics are no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise ModelFolderError(
            tr(f"{where}: not a usable tokenizer: {error}", f"{where}：不是可用的分词器：{error}")
        ) from error
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend

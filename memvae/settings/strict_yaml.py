"""Strict YAML: repeated keys and ambiguous values are refused. Only the standard library is imported at the top."""

import re
from pathlib import Path
from typing import Any

from memvae.errors import InputError


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that says what it seems to say: no key twice, numbers in plain decimals, only true and false.

    Raises InputError with the file, and the line where one is to blame.
    """
    import yaml

    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: Strict, node: Any) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key, _ in reversed(node.value):
            if keys.count(key.value) > 1:
                line = key.start_mark.line + 1
                raise InputError(f"{path}, line {line}: found the key {key.value!r} twice, expected once; remove one")
        loader.flatten_mapping(node)
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    def plain(loader: Strict, node: Any, shape: str, words: str, make: Any) -> Any:
        if not re.fullmatch(shape, node.value):
            line = node.start_mark.line + 1
            raise InputError(f"{path}, line {line}: found {node.value!r}, expected {words}; in quotes it is text")
        return make(node.value)

    Strict.add_constructor("tag:yaml.org,2002:map", mapping)
    decimal = ("[-+]?(0|[1-9][0-9]{0,30})", "a whole number in plain decimals", int)
    Strict.add_constructor("tag:yaml.org,2002:int", lambda loader, node: plain(loader, node, *decimal))
    flag = ("true|false", "true or false", lambda value: value == "true")
    Strict.add_constructor("tag:yaml.org,2002:bool", lambda loader, node: plain(loader, node, *flag))
    try:
        raw = Strict(Path(path).read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise InputError(
            f"{path}: not found; run this in the project's folder, or name the file with --config"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a YAML file") from None
    # beside its own, PyYAML raises ValueError for 2020-13-01 and IndexError for `!!int ""`
    except (yaml.YAMLError, ValueError, IndexError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: found no YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: found {type(raw).__name__}, expected a mapping")
    return raw

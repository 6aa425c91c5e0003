#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes docs/configuration.md from configs/reference.yaml.

Usage: config_doc.py [--check]   --check only says whether the page is up to date
"""

import re
import sys

SOURCE = "configs/reference.yaml"
TARGET = "docs/configuration.md"

HEAD = """<!-- Made from configs/reference.yaml by make format: change that file instead. -->

# Configuration

A node is configured by one YAML file, given to `strait server --config FILE`. Settings that have a
default may be left out; a minimal file is

```yaml
cluster:
  name: us
federation:
  clusters:
    - name: us
      initial_version: 1
database:
  driver: sqlite
  file: /var/lib/strait/us.db
```

Text may refer to environment variables as `${NAME}`, so that secrets stay out of the file; `$${` is
a plain `${`. A reference to a variable that is not set is an error. Relative file names start at the
folder the server is started in.

An unknown key, a wrong type or an impossible combination is refused, with the line and what to write
instead:

```
us.yaml:3: cluster.shrads is not a setting; did you mean shards?
```

`strait server --config FILE --check` reads the file and says whether it is usable.
"""


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def page(lines):
    """Keys with the comment right above them, a table per top-level group."""
    out = [HEAD]
    comment, stack = [], []
    for line in lines:
        prose = re.fullmatch(r"\s*# (.*)\n", line)
        if prose:
            comment.append(prose[1])
            continue
        setting = re.fullmatch(r"(\s*)(#|- )?([a-z_]+):(?: (.+))?\n", line)
        if not setting:
            comment = []
            continue
        indent = len(setting[1]) + (2 if setting[2] == "- " else 0)
        stack = [entry for entry in stack if entry[0] < indent] + [(indent, setting[3])]
        path = ".".join(name for _, name in stack).replace("clusters.", "clusters[].")
        text, comment = " ".join(comment), []
        if indent == 0:
            out.append(f"\n## {path}\n\n{text}\n\n| setting | default | |\n|---|---|---|\n")
            continue
        value = setting[4]
        required = "Required." in text
        if value is None or required:
            shown = "required" if required else ""
        elif setting[2] == "#":
            shown = f"unset; such as `{value}`"
        elif path.startswith("federation.clusters") or path == "database.file":
            shown = f"such as `{value}`"
        else:
            shown = f"`{value}`"
        out.append(f"| `{path}` | {shown} | {cell(text.replace(' Required.', ''))} |\n")
    return "".join(out)


def main():
    with open(SOURCE, encoding="utf-8") as file:
        wanted = page(file.readlines())
    if "--check" not in sys.argv:
        with open(TARGET, "w", encoding="utf-8") as file:
            file.write(wanted)
        return 0
    try:
        with open(TARGET, encoding="utf-8") as file:
            if file.read() == wanted:
                return 0
    except FileNotFoundError:
        pass
    print(f"{TARGET}:1: not what {SOURCE} says: run make format")
    return 1


if __name__ == "__main__":
    sys.exit(main())

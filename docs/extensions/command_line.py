# SPDX-License-Identifier: GPL-3.0-or-later
"""The directive `command-line`: all commands of `diffposetalk` with their arguments, read from its parser.

What the commands' modules import beside numpy is stood in for (`command_line_stand_ins`): parsers need none of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock
from sphinx.util.docutils import SphinxDirective

from diffposetalk.cli import MODULE_COMMANDS, build_parser

WIDTH = 84  # columns of the usage lines


def documented_commands() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name (as `style extract`), summary and parser of every command, those with sub-commands before these."""
    for name, summary, parser in _children(build_parser([])):
        full = dict(_named(build_parser([name])))[name] if name in MODULE_COMMANDS else parser
        yield name, summary, full
        for child, child_summary, child_parser in _children(full):
            yield f"{name} {child}", child_summary, child_parser


def _children(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield choice.dest, choice.help or "", action.choices[choice.dest]


def _named(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    return ((name, child) for name, _, child in _children(parser))


class CommandLine(SphinxDirective):
    """A section for each command: what it does, its usage, and a list of its arguments."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        with mock(self.config.command_line_stand_ins):
            return [self._section(*command) for command in documented_commands()]

    def _section(self, name: str, summary: str, parser: argparse.ArgumentParser) -> nodes.section:
        title = f"diffposetalk {name}"
        section = nodes.section(ids=[nodes.make_id(title)], names=[title])
        section += nodes.title("", "", nodes.literal("", title))
        told = parser.description or summary
        section += nodes.paragraph("", told[:1].upper() + told[1:].rstrip(".") + ".")
        parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=WIDTH)
        section += nodes.literal_block("", parser.format_usage(), language="text")
        for group in parser._action_groups:
            actions = [action for action in group._group_actions if _shown(action)]
            if not actions:
                continue
            if group.title not in ("positional arguments", "options"):
                section += nodes.paragraph("", "", nodes.strong("", (group.title or "").capitalize()))
            section += nodes.definition_list("", *(_item(action, parser) for action in actions))
        if parser.epilog:
            section += nodes.paragraph("", parser.epilog)
        return section


def _shown(action: argparse.Action) -> bool:
    hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    return not hidden and action.help is not argparse.SUPPRESS


def _item(action: argparse.Action, parser: argparse.ArgumentParser) -> nodes.definition_list_item:
    formatter = parser._get_formatter()
    term = formatter._format_action_invocation(action)
    text = formatter._expand_help(action) if action.help else ""
    return nodes.definition_list_item(
        "",
        nodes.term("", "", nodes.literal("", term)),
        nodes.definition("", nodes.paragraph("", text[:1].upper() + text[1:])),
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_config_value("command_line_stand_ins", [], "env", list)
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}

#!/usr/bin/env python3
"""The screen of a terminal as SVG: reads what `tmux capture-pane -p -e` prints, and writes a picture of so many columns.

    tmux capture-pane -p -e | contrib/pictures/screen.py COLUMNS >screen.svg
"""

import re
import signal
import sys
import unicodedata
from html import escape

CELL_WIDTH, CELL_HEIGHT, MARGIN = 8, 17, 10
PAPER, INK, FAINT = "#1b1f27", "#d7dae0", "#7d8590"
COLOURS = {30: "#1b1f27", 31: "#e5534b", 32: "#57ab5a", 33: "#c69026", 34: "#539bf5", 35: "#b083f0", 36: "#39c5cf", 37: INK}
# The blocks of graphs are drawn, since fonts differ in how high they are.
EIGHTHS = " ▁▂▃▄▅▆▇█"


class Pen:
    def __init__(self):
        self.reset()

    def reset(self):
        self.colour = self.paper = None
        self.bold = self.dim = self.underlined = self.reversed = False

    def obey(self, parameters):
        """Takes the parameters of a "select graphic rendition" (ECMA-48)."""
        numbers = [int(number or 0) for number in parameters.split(";")]
        while numbers:
            number = numbers.pop(0)
            # One of 256 colours, of which the first 16 are used.
            if number in (38, 48) and numbers[:1] == [5]:
                number, numbers = number - 8 + numbers[1] % 8, numbers[2:]
            if number == 0:
                self.reset()
            elif number in (1, 2, 4, 7):
                setattr(self, {1: "bold", 2: "dim", 4: "underlined", 7: "reversed"}[number], True)
            elif number in (22, 24, 27):
                for name in {22: ("bold", "dim"), 24: ("underlined",), 27: ("reversed",)}[number]:
                    setattr(self, name, False)
            elif number in COLOURS or number == 39:
                self.colour = COLOURS.get(number)
            elif number - 10 in COLOURS or number == 49:
                self.paper = COLOURS.get(number - 10)

    def look(self):
        ink = self.colour or (FAINT if self.dim else INK)
        paper = self.paper or PAPER
        ink, paper = (paper, ink) if self.reversed else (ink, paper)
        return ink, paper, self.bold, self.underlined


def width_of(character):
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cells(line, pen):
    """Each character of a line with its column, its width and its look."""
    column = 0
    for escape_sequence, parameters, character in re.findall(r"(\x1b\[([0-9;]*)m)|(.)", line.replace("\x0f", "")):
        if escape_sequence:
            pen.obey(parameters)
            continue
        width = width_of(character)
        yield column, width, character, pen.look()
        column += width


def runs(line, pen):
    """Characters of one look that follow each other, with their column and width."""
    run = None
    for column, width, character, look in cells(line, pen):
        if run and width == 0:
            run[2] += character
            continue
        # A wide character and a block have places of their own.
        alone = width == 2 or character in EIGHTHS[1:] or character == "░"
        # Words that stand in columns do, too.
        alone = alone or character == " " and (not run or run[2].endswith(" "))
        if run and run[3] == look and not alone and not run[4]:
            run[1] += width
            run[2] += character
        else:
            if run:
                yield run
            run = [column, width, character, look, alone]
    if run:
        yield run


def draw(run, row):
    column, width, text, (ink, paper, bold, underlined), _ = run
    x, y = MARGIN + column * CELL_WIDTH, MARGIN + row * CELL_HEIGHT
    if paper != PAPER:
        yield f'<rect x="{x}" y="{y}" width="{width * CELL_WIDTH}" height="{CELL_HEIGHT}" fill="{paper}"/>'
    if text in EIGHTHS[1:] or text == "░":
        height = CELL_HEIGHT * EIGHTHS.find(text) / 8 if text != "░" else CELL_HEIGHT - 4
        shade = ' opacity="0.25"' if text == "░" else ""
        if text in "█░":
            height = CELL_HEIGHT - 4
        bottom = y + CELL_HEIGHT - 2
        yield f'<rect x="{x}" y="{bottom - height:g}" width="{CELL_WIDTH}" height="{height:g}" fill="{ink}"{shade}/>'
    elif text.strip():
        text, width = text.rstrip(), width - len(text) + len(text.rstrip())
        weight = ' font-weight="bold"' if bold else ""
        length = f' textLength="{width * CELL_WIDTH}" lengthAdjust="spacingAndGlyphs"'
        yield f'<text x="{x}" y="{y + 13}" fill="{ink}"{weight}{length}>{escape(text)}</text>'
    if underlined:
        yield f'<rect x="{x}" y="{y + CELL_HEIGHT - 2}" width="{width * CELL_WIDTH}" height="1" fill="{ink}" opacity="0.5"/>'


def main():
    # As `head` ends what it reads from.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    columns = int(sys.argv[1])
    lines = sys.stdin.read().rstrip("\n").split("\n")
    width, height = columns * CELL_WIDTH + 2 * MARGIN, len(lines) * CELL_HEIGHT + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">')
    print(f'<rect width="{width}" height="{height}" rx="6" fill="{PAPER}"/>')
    print('<g shape-rendering="crispEdges" font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="13" xml:space="preserve">')
    pen = Pen()
    for row, line in enumerate(lines):
        for run in runs(line, pen):
            print("\n".join(draw(run, row)) or "", end="\n" if any(draw(run, row)) else "")
    print("</g>\n</svg>")


if __name__ == "__main__":
    main()

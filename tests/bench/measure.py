"""Runs cases in alternating rounds, and prints a table of what they took."""

import mmap
import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

# A server counts as idle when it takes less than this in `IDLE_SECONDS`.
IDLE_CPU_SECONDS = 0.0002
IDLE_SECONDS = 0.1
IDLE_TRIES_MAX = 300

# Seconds for a GiB; 0.6 s or less where the memory is there.
SLOW_TOUCH_S = 1.5
# What stays free when memory is touched.
LEFT_FREE_BYTES = 1 << 30


@dataclass
class Case:
    name: str
    # Runs once, and returns the figure of the row.
    run: Callable[[], float]
    # Our case that it is compared with; `None` for our own.
    against: str | None = "pyrate"
    remarks: list = field(default_factory=list)
    # Of each round, what its clients have used: in the unit of the row.
    clients: list = field(default_factory=list)


@dataclass
class Row:
    title: str
    unit: str
    cases: list
    # Peers that are not installed.
    missing: list = field(default_factory=list)


def cpu_seconds(pid):
    """What a process has used so far with all its threads, also those that have ended: its clock, CPUCLOCK_SCHED."""
    return time.clock_gettime(~pid << 3 | 2)


def await_idle(pid):
    """Waits until a server has nothing to do any more, and returns what it has used."""
    before = cpu_seconds(pid)
    for _ in range(IDLE_TRIES_MAX):
        time.sleep(IDLE_SECONDS)
        now = cpu_seconds(pid)
        if now - before < IDLE_CPU_SECONDS:
            return now
        before = now
    raise RuntimeError(f"process {pid} does not come to rest")


def cpu_of(pid, work):
    """CPU seconds that a server uses for some work, until it is idle again."""
    before = await_idle(pid)
    work()
    return await_idle(pid) - before


def memory_mib(pid):
    """Resident memory of a process, the anonymous part of it, and the number of its threads."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    mib = lambda name: int(fields[name].split()[0]) / 1024
    return mib("VmRSS"), mib("RssAnon"), int(fields["Threads"])


def touch_memory():
    """Touches the free memory once. A virtual machine may get memory from its host at the first touch, which takes longer than what is measured."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    size = (int(fields["MemFree"].split()[0]) << 10) - LEFT_FREE_BYTES
    if size <= 0:
        return "memory not touched: too little is free"
    began = time.monotonic()
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()
    took = time.monotonic() - began
    told = f"{size / 2**30:.1f} GiB of free memory touched in {took:.1f} s"
    # The host takes back what is free, so that it is not touched any more when it is needed.
    if took * 2**30 / size > SLOW_TOUCH_S and has_page_reporting():
        told += "\nNOTE: the host may take free memory back (page reporting), and gives it slowly: figures of work that copies compare memory"
    return told


def has_page_reporting():
    """Whether the kernel can tell the host of a virtual machine which pages are free."""
    return Path("/sys/module/page_reporting").exists()


def measure(row, rounds, warm_up):
    """Each round runs each case once, and begins with another one. A round to warm up does not count."""
    figures = {case.name: [] for case in row.cases}
    for number in range(0 if warm_up else 1, rounds + 1):
        shift = number % len(row.cases)
        for case in row.cases[shift:] + row.cases[:shift]:
            figure = case.run()
            if number > 0:
                figures[case.name].append(figure)
            else:
                case.clients.clear()
    return figures


def show(row, figures):
    print(f"\n{row.title}")
    table = [("case", f"median, {row.unit}", "min", "max", "ours / this")]
    totals = {case.name: [sum(both) for both in zip(figures[case.name], case.clients)] for case in row.cases}
    if any(totals.values()):
        table[0] += (f"with clients, {row.unit}", "ours / this")
    for case in row.cases:
        runs, total = figures[case.name], totals[case.name]
        line = (case.name, *(f"{pick(runs):.3g}" for pick in (statistics.median, min, max)))
        line += (ratio(figures.get(case.against, []), runs),)
        if total:
            line += (f"{statistics.median(total):.3g}", ratio(totals.get(case.against, []), total))
        table.append(line)
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  " + "  ".join(cells).rstrip())
    for case in row.cases:
        for remark in dict.fromkeys(case.remarks):
            print(f"  {case.name}: {remark}")
    for missing in row.missing:
        print(f"  NOT MEASURED: {missing}")


def ratio(ours, theirs):
    """The median of the ratios of the rounds, since noise from elsewhere meets all cases of a round."""
    ratios = [our / their for our, their in zip(ours, theirs) if their]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def machine(scratch, programs):
    """What the figures depend on."""
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    total = Path("/proc/meminfo").read_text().split()[1]
    return [
        f"{time.strftime('%Y-%m-%d %H:%M')}, {platform.system()} {platform.release()}, {platform.machine()}",
        f"{len(os.sched_getaffinity(0))} CPUs ({models[0] if models else 'unknown'}), {int(total) / 2**20:.0f} GiB, load {os.getloadavg()[0]:.2f}",
        f"scratch directory on {filesystem(scratch)}, {programs}",
    ]


def filesystem(path):
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    path = os.path.realpath(path)
    beneath = [(where, kind) for where, kind in mounts if (path + "/").startswith(where.rstrip("/") + "/")]
    return max(beneath, key=lambda mount: len(mount[0]))[1]


def commit():
    here = Path(__file__).parent
    described = subprocess.run(["git", "-C", here, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return described.stdout.strip() or "unknown"

"""What writing and reading a Parquet file costs in another program, in CPU time of one thread.

parquet.py duckdb|polars write FILE OUT RUNS    reads FILE into memory, then writes it to OUT, zstd level 1
parquet.py duckdb|polars read FILE - RUNS       all columns into memory (DuckDB: Arrow), and two of them
Prints one JSON line: {"all": [seconds of CPU ..], "two": [..], "rows": n, "version": ".."}
"""
import json
import os
import resource
import sys

os.environ["POLARS_MAX_THREADS"] = "1"
engine, what, file, out, runs = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(call):
    seconds = []
    for _ in range(runs):
        before = cpu()
        result = call()
        seconds.append(cpu() - before)
    return seconds, result


if engine == "duckdb":
    import duckdb as program

    con = program.connect()
    con.execute("set threads = 1")
    if what == "write":
        con.execute(f"create table bids as select * from read_parquet('{file}')")
        options = "format parquet, compression zstd, compression_level 1"
        calls = {"all": lambda: con.execute(f"copy bids to '{out}' ({options})")}
        count = lambda _: con.execute("select count(*) from bids").fetchone()[0]
    else:
        read = lambda columns: lambda: con.execute(f"select {columns} from read_parquet('{file}')").to_arrow_table()
        calls = {"all": read("*"), "two": read("auction, price")}
        count = lambda table: table.num_rows
else:
    import polars as program

    if what == "write":
        bids = program.read_parquet(file)
        calls = {"all": lambda: bids.write_parquet(out, compression="zstd", compression_level=1)}
        count = lambda _: bids.height
    else:
        calls = {
            "all": lambda: program.read_parquet(file),
            "two": lambda: program.read_parquet(file, columns=["auction", "price"]),
        }
        count = lambda table: table.height

said = {"version": program.__version__}
for name, call in calls.items():
    said[name], result = timed(call)
    said["rows"] = count(result)
print(json.dumps(said))

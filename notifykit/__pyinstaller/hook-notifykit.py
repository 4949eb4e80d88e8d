"""What a bundle of a program that uses notifykit needs: modules that are imported by name only, and drivers."""

from __future__ import annotations

from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

NOT_BUNDLED = ("notifykit.__pyinstaller", "notifykit.cli", "notifykit.__main__")
DRIVERS = ("aiosqlite", "asyncmy", "psycopg", "pymysql")

hiddenimports = collect_submodules("notifykit", filter=lambda name: not name.startswith(NOT_BUNDLED))
for driver in DRIVERS:
    if find_spec(driver):
        hiddenimports += collect_submodules(driver)
datas = collect_data_files("notifykit", excludes=["**/__pyinstaller/*"])

"""Archives that are whole, with a dataset in them that is one, or is none."""

import json
from functools import partial

from core.ingest.limits import IngestLimits
from tests.abuse.archive_cases import ArchiveCase, accept, make_set, refuse
from tests.abuse.forgery import make_zip
from tests.pictures import Member, encode, make_picture

GIVEN = "2 classes, 12 samples, train+val+test"


def list_dataset_cases(seed: int) -> list[ArchiveCase]:
    good = list(make_set(seed))
    return [
        *_list_folders(seed, good),
        *_list_labels(good),
        *_list_useless(seed, good),
    ]


def _list_folders(seed: int, good: list[Member]) -> list[ArchiveCase]:
    return [
        accept("one wrapping folder", lambda: make_zip(_prefix("cells/", good))),
        accept("given splits", lambda: make_zip(_split(good)), GIVEN),
        accept("given splits in a wrapping folder", lambda: make_zip(_prefix("cells/", _split(good))), GIVEN),
        accept("given splits under other names", lambda: make_zip(_split(good, ("Train", "VALID", "test"))), GIVEN),
        accept("classes in other scripts", lambda: make_zip(list(make_set(seed, classes=("猫", "собака"))))),
        accept("a class named train", lambda: make_zip(list(make_set(seed, classes=("train", "bus"))))),
        accept("decomposed names", lambda: make_zip(list(make_set(seed, classes=("cafe\u0301", "b"))))),
        accept("files whose names differ in case", lambda: make_zip(_rename(good, "cat/1.png", "cat/0.PNG"))),
        accept("hidden and system files", lambda: make_zip([*good, *_make_hidden_files()])),
        accept("notes and scripts beside pictures", lambda: make_zip([*good, ("run.sh", b"#!"), ("cat/a.txt", b"x")])),
        accept("pictures under wrong names", lambda: make_zip(_rename(good, "cat/0.png", "cat/0.exe"))),
        accept("a broken picture among good ones", lambda: make_zip([*good, ("cat/x.png", good[0][1][:200])])),
        accept("an empty folder", lambda: make_zip([*good, ("bird/", b"")])),
    ]


def _list_labels(good: list[Member]) -> list[ArchiveCase]:
    flat = [(f"p/{name.replace('/', '_')}", content) for name, content in good]
    rows = [(name, name[2:5]) for name, _ in flat]

    def build(text: str | bytes, name: str = "labels.csv") -> bytes:
        return make_zip([*flat, (name, text.encode() if isinstance(text, str) else text)])

    def write(more: str = "", header: str = "path,label") -> str:
        return "\n".join([header, *(f"{path},{label}" for path, label in rows), more])

    splits = "\n".join(f"{path},{label},{('train', 'val', 'test')[n % 3]}" for n, (path, label) in enumerate(rows))
    lines = [json.dumps({"path": path, "label": label}) for path, label in rows]
    too_large = IngestLimits(max_labels_file_bytes=100)
    wrong = {
        "a missing file": ("labels_file_missing", write("p/x.png,cat")),
        "a path that leads out": ("labels_path_invalid", write("../canary,cat")),
        "an absolute path": ("labels_path_invalid", write("/etc/passwd,cat")),
        "a row twice": ("labels_row_duplicate", write(f"{rows[0][0]},cat")),
        "one picture under two labels": ("labels_row_duplicate", write(f"{rows[0][0]},dog")),
        "an unknown column": ("labels_column_unknown", write(header="path,lable")),
        "no header": ("labels_column_unknown", write(header="p/x.png,cat")),
        "a missing column": ("labels_column_missing", "path\n" + "\n".join(path for path, _ in rows)),
        "a missing cell": ("labels_file_damaged", write("p/x.png")),
        "an unknown split": ("labels_split_invalid", "path,label,split\n" + splits.replace("val", "dev")),
        "a formula": ("labels_label_invalid", write().replace(",cat", ",=HYPERLINK(1)")),
        "a label too long": ("labels_label_invalid", write().replace(",cat", "," + "c" * 256)),
        "an empty label": ("labels_label_invalid", write().replace(",cat", ",")),
        "turned writing": ("labels_label_invalid", write().replace(",cat", ",\u202etac")),
        "labels that differ in case": ("ambiguous_class_names", write().replace(",cat", ",Dog")),
        "one label": ("one_class", write().replace(",cat", ",dog")),
        "an open quote": ("labels_file_damaged", write('"p/x.png,cat')),
    }
    return [
        accept("labels.csv", lambda: build(write())),
        accept("labels.csv of a spreadsheet", lambda: build("\ufeff" + write().replace("\n", "\r\n"))),
        accept("labels.csv with splits", lambda: build("path,label,split\n" + splits), GIVEN),
        accept("metadata.jsonl", lambda: build("\n".join(lines), "metadata.jsonl")),
        accept(
            "labels.csv in a wrapping folder",
            lambda: make_zip(_prefix("cells/", [*flat, ("labels.csv", write().encode())])),
        ),
        *(refuse(f"labels.csv with {what}", code, partial(build, text)) for what, (code, text) in wrong.items()),
        refuse(
            "labels.csv in Latin-1", "labels_file_damaged", lambda: build(write("p/x.png,\u00e9").encode("latin-1"))
        ),
        refuse("labels.csv that is too large", "labels_file_too_large", lambda: build(write()), too_large),
        refuse("metadata.jsonl that nests", "labels_file_damaged", lambda: build("[" * 100_000, "metadata.jsonl")),
        refuse(
            "two labels files",
            "labels_file_ambiguous",
            lambda: make_zip([*flat, ("labels.csv", b"x"), ("metadata.jsonl", b"x")]),
        ),
    ]


def _list_useless(seed: int, good: list[Member]) -> list[ArchiveCase]:
    copies = [(f"dog/{index}.png", content) for index, (_, content) in enumerate(good[:6])]
    same = [(f"dog/{index}.png", good[0][1]) for index in range(6)]
    without_train = [(f"{'val' if '0' in name else 'test'}/{name}", content) for name, content in good]
    return [
        refuse("no members", "no_images", lambda: make_zip([])),
        refuse("no pictures", "no_images", lambda: make_zip([("cat/a.txt", b"a"), ("dog/a.txt", b"a")])),
        refuse("one class", "one_class", lambda: make_zip(good[:6])),
        refuse(
            "pictures in no folder",
            "one_class",
            lambda: make_zip([(name[4:] + name[:3] + ".png", content) for name, content in good]),
        ),
        refuse("a class of four pictures", "class_too_small", lambda: make_zip(good[:10])),
        refuse("a class of copies", "class_too_small", lambda: make_zip([*good[:6], *same])),
        refuse(
            "a class of broken pictures",
            "class_too_small",
            lambda: make_zip([*good[:6], *((name, content[:99]) for name, content in good[6:])]),
        ),
        refuse("all pictures in both classes", "conflicting_labels", lambda: make_zip([*good[:6], *copies])),
        refuse(
            "classes that differ in case",
            "ambiguous_class_names",
            lambda: make_zip(list(make_set(seed, classes=("Cat", "cat")))),
        ),
        refuse(
            "classes composed in two ways",
            "ambiguous_class_names",
            lambda: make_zip(list(make_set(seed, classes=("\u00e9", "e\u0301")))),
        ),
        refuse(
            "classes that differ in a dot",
            "ambiguous_class_names",
            lambda: make_zip(list(make_set(seed, classes=("cat", "cat.")))),
        ),
        refuse(
            "a class that is a formula",
            "class_name_invalid",
            lambda: make_zip(list(make_set(seed, classes=("=1+1", "dog")))),
        ),
        refuse("splits without train", "no_train_split", lambda: make_zip(without_train)),
        refuse(
            "a class that is in test alone",
            "class_not_in_train",
            lambda: make_zip([(f"{'train' if 'cat' in name else 'test'}/{name}", content) for name, content in good]),
        ),
        refuse("too many classes", "too_many_classes", lambda: make_zip(good), IngestLimits(max_classes=1)),
    ]


def _split(members: list[Member], names: tuple[str, str, str] = ("train", "val", "test")) -> list[Member]:
    return [(f"{names[number % 3]}/{name}", content) for number, (name, content) in enumerate(members)]


def _prefix(prefix: str, members: list[Member]) -> list[Member]:
    return [(prefix + name, content) for name, content in members]


def _rename(members: list[Member], old: str, new: str) -> list[Member]:
    return [(new if name == old else name, content) for name, content in members]


def _make_hidden_files() -> list[Member]:
    picture = encode(make_picture(9))
    names = ("__MACOSX/cat/._0.png", ".DS_Store", "cat/Thumbs.db", ".git/config", "dog/.ipynb_checkpoints/0.png")
    return [(name, picture) for name in names]

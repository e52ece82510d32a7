"""The KFP face of ``prepare``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import CORE_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=CORE_IMAGE, install_kfp_package=False)
def prepare(
    source: str,
    target: str,
    train: dsl.Output[dsl.Dataset],
    test: dsl.Output[dsl.Dataset],
    schema: dsl.Output[dsl.Artifact],
    profile: dsl.Output[dsl.HTML],
    task: str = "auto",
    target_expression: str = "",
    positive_class: str = "",
    query: str = "",
    revision: str = "",
    file_format: str = "auto",
    encoding: str = "utf-8",
    delimiter: str = ",",
    column_types: dict[str, str] = {},
    missing_values: list[str] = ["NA", "N/A", "NaN", "nan", "null", "NULL", "None"],
    key_columns: list[str] = [],
    drop_columns: list[str] = [],
    drop_duplicates: bool = True,
    max_missing_share: float = 0.5,
    max_categories: int = 10000,
    min_rows: int = 10,
    rules: str = "{}",
    split: str = "auto",
    split_column: str = "",
    test_size: float = 0.2,
    seed: int = 42,
) -> None:
    """Reads a table, settles its types, checks it against rules and splits it into train and test.

    The table need not fit in memory. Rows with no target are dropped and counted in the profile.

    Args:
        source: Where the table is: a CSV or Parquet file or a folder of them (local path, gs://, s3://, http(s)://),
            a database (postgresql://host/database, with query), or a DVC-tracked path (dvc://repository/path).
            Credentials come from the environment, never from this parameter.
        target: Name of the column to predict.
        train: The training split, a folder of Parquet files.
        test: The test split, untouched until evaluate.
        schema: Names, types, ranges and categories of the columns, as JSON.
        profile: What the data looks like, as one self-contained HTML page.
        task: binary, multiclass or regression; auto decides by the target's values.
        target_expression: SQL expression that computes the target from the source's columns, such as
            arr_delay > 15; empty when the target is a column of the source.
        positive_class: For binary, the label that counts as positive; empty takes the last in sorted order.
        query: SQL query to run when source is a database.
        revision: Revision (commit, tag, branch) when source is a DVC-tracked path.
        file_format: csv or parquet; auto decides by the file's name and content.
        encoding: Text encoding of a CSV source, such as latin-1.
        delimiter: Separator of a CSV source.
        column_types: Type by column where the settled one is wrong: integer, number, boolean, string, date or
            timestamp; the last two may have a format, such as date:%d/%m/%Y. string keeps leading zeros.
        missing_values: Texts that mean missing. Blank always does.
        key_columns: Columns that identify a row. They are not features, and a row keeps its side of the split
            by them.
        drop_columns: Columns to leave out.
        drop_duplicates: Whether to drop repeated rows (by key_columns where given).
        max_missing_share: Columns missing more than this share (0 to 1) are dropped.
        max_categories: A text feature with more distinct values than this is refused.
        min_rows: Fewer usable rows than this is an error.
        rules: Further rules as one JSON object: {"max_missing_share": {"tenure": 0.0},
            "ranges": {"tenure": [0, 100]}, "categories": {"contract": ["One year", "Two year"]}}.
        split: random, stratified, time or group; auto is stratified for classes and random for regression.
        split_column: The time or group column of a time or group split.
        test_size: Share of rows in the test split, between 0 and 1.
        seed: Salt of the row hash that decides a row's side; the same seed gives the same split.

    Raises:
        SourceError: The source is missing, empty or damaged, or its format or encoding is another.
        ParameterError: A parameter is of the wrong type, out of range, or names a column that is not there.
        SchemaError: Column names are repeated, files differ in columns, or a value does not fit its type.
        TargetError: The target is missing, constant, all null, or does not fit the task.
        RuleError: The data breaks min_rows, max_categories or one of the rules.
        SplitError: The rows cannot be split as asked, such as a class with one member.
        ExpressionError: target_expression does not parse, or reaches outside the row.
        StorageError: The disk is full or cannot be written.
    """
    from kfp_lifecycle.components.prepare.step import prepare_step

    prepare_step(
        source=source,
        target=target,
        train=train,
        test=test,
        schema=schema,
        profile=profile,
        task=task,
        target_expression=target_expression,
        positive_class=positive_class,
        query=query,
        revision=revision,
        file_format=file_format,
        encoding=encoding,
        delimiter=delimiter,
        column_types=column_types,
        missing_values=missing_values,
        key_columns=key_columns,
        drop_columns=drop_columns,
        drop_duplicates=drop_duplicates,
        max_missing_share=max_missing_share,
        max_categories=max_categories,
        min_rows=min_rows,
        rules=rules,
        split=split,
        split_column=split_column,
        test_size=test_size,
        seed=seed,
    )

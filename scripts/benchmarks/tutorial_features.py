"""The tutorial way to prepare and featurize a table: what everybody copies, with pandas and scikit-learn.

Usage: tutorial_features.py TABLE.csv OUTPUT_FOLDER
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

TARGET = "target"


def main(source: str, output: str) -> None:
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    frame = pd.read_csv(source)
    frame = frame.drop_duplicates()
    frame = frame.loc[:, frame.isna().mean() <= 0.5]
    train, test = train_test_split(frame, test_size=0.2, stratify=frame[TARGET], random_state=42)
    train.to_parquet(folder / "train.parquet")
    test.to_parquet(folder / "test.parquet")

    numeric = [c for c in train.columns if pd.api.types.is_numeric_dtype(train[c]) and c != TARGET]
    medians = train[numeric].median()
    train = train.fillna(medians)
    test = test.fillna(medians)
    y_train, y_test = train.pop(TARGET), test.pop(TARGET)
    train = pd.get_dummies(train)
    test = pd.get_dummies(test).reindex(columns=train.columns, fill_value=0)
    scaler = StandardScaler().set_output(transform="pandas")
    train = scaler.fit_transform(train)
    test = scaler.transform(test)
    train.assign(**{TARGET: y_train}).to_parquet(folder / "train_features.parquet")
    test.assign(**{TARGET: y_test}).to_parquet(folder / "test_features.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The API as an OpenAPI document, and as a page that needs nothing from elsewhere."""

import json
from html import escape
from typing import Any

from kosplinter.serving.limits import Limits

EXAMPLE = {
    "question": "누가 훈민정음을 만들었는가?",
    "documents": ["훈민정음은 세종이 만들었다.", "한글날은 10월 9일이다."],
    "top_k": 2,
}


def openapi(limits: Limits) -> dict[str, Any]:
    """OpenAPI 3.1."""
    text = {"type": "string", "minLength": 1}
    question = {
        "question": text,
        "document": text | {"description": "one text, instead of documents"},
        "documents": {"type": "array", "items": text, "minItems": 1, "description": "one ranking over all of them"},
    }
    options = {
        "top_k": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1},
        "min_probability": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "less probable answers are not given; by default what the model was calibrated to",
        },
    }
    one = {"type": "object", "properties": question, "required": ["question"], "additionalProperties": False}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": limits.max_questions}
    answer = {
        "text": {"type": "string"},
        "start": {"type": "integer", "description": "first character in its document"},
        "end": {"type": "integer", "description": "behind its last character"},
        "score": {"type": "number"},
        "probability": {"type": "number"},
        "sentence": {"type": "string"},
        "document": {"type": "integer", "description": "index in documents"},
    }
    answers = {"type": "object", "properties": {"answers": {"type": "array", "items": _object(answer)}}}
    body = {"oneOf": [_object(question | options) | {"required": ["question"]}, _object({"questions": many} | options)]}
    refusals = {
        "400": "body: no JSON",
        "408": "body: too slow",
        "413": f"body: more than {limits.max_body_bytes} bytes",
        "415": "Content-Type: not application/json",
        "422": "a field that cannot be used, by its name; "
        f"more than {limits.max_questions} questions or {limits.max_characters} characters of documents",
        "503": f"more than {limits.max_waiting} requests are waiting",
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "kosplinter", "version": "1", "description": "Answers questions from the documents given."},
        "paths": {
            "/answer": {
                "post": {
                    "summary": "Answer one question, or many; no answer means that the model does not know",
                    "requestBody": {"required": True, "content": _json(body, EXAMPLE)},
                    "responses": {
                        "200": {
                            "description": "answers, best first; of many questions in their order, under results",
                            "content": _json(
                                {"oneOf": [answers, _object({"results": {"type": "array", "items": answers}})]}
                            ),
                        }
                    }
                    | {
                        status: {"description": text, "content": _json(_object({"error": {"type": "string"}}))}
                        for status, text in refusals.items()
                    },
                }
            },
            "/health": {
                "get": {"summary": "Whether it runs", "responses": {"200": {"description": "status, model, waiting"}}}
            },
        },
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _json(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema} | ({"example": example} if example else {})}


def page(description: dict[str, Any]) -> str:
    """The document as HTML."""
    parts = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>")
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                example = json.dumps(content["example"], ensure_ascii=False)
                parts.append(
                    "<pre>curl -H 'Content-Type: application/json' "
                    f"http://127.0.0.1:8000{escape(path)} -d '{escape(example)}'</pre>"
                )
                schema = json.dumps(content["schema"], ensure_ascii=False, indent=2)
                parts.append(f"<details><summary>Body</summary><pre>{escape(schema)}</pre></details>")
            rows = (
                f"<tr><td>{escape(status)}</td><td>{escape(response['description'])}</td></tr>"
                for status, response in operation["responses"].items()
            )
            parts.append(f"<table>{''.join(rows)}</table>")
    style = (
        "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}pre{background:#eee;padding:1em;"
    )
    style += "overflow:auto}td{padding:.2em 1em .2em 0;vertical-align:top}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>kosplinter</title><style>{style}</style>'
        f"<h1>kosplinter</h1><p>{escape(description['info']['description'])} "
        f'<a href="openapi.json">openapi.json</a></p>{"".join(parts)}</html>'
    )

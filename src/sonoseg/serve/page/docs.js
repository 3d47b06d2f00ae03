// @ts-check
// Draws /openapi.json as a page: each address with its fields and answers.

import { byId, element } from "./state.js";

/** @typedef {any} Schema a part of the OpenAPI document */

const response = await fetch("/openapi.json");
/** @type {Schema} */ const api = await response.json();

/** @param {Schema} schema @returns {Schema} what a reference stands for */
function resolved(schema) {
  const name = schema.$ref?.split("/").pop();
  return name ? api.components.schemas[name] : schema;
}

/** @param {Schema} schema @returns {string} the type in words */
function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return schema.contentMediaType || schema.format === "binary" ? "file" : schema.type ?? "any";
}

/** @template {"p"|"td"} K @param {K} tag @param {string} text words between backticks are code @returns {HTMLElementTagNameMap[K]} */
function prose(tag, text) {
  const made = element(tag);
  made.append(...text.split("`").map((part, place) => (place % 2 ? element("code", part) : part)));
  return made;
}

/** @param {Schema} schema of an object @returns {HTMLTableElement} */
function table(schema) {
  const rows = element("table");
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const row = element("tr"), isNeeded = schema.required?.includes(name);
    row.append(element("th", name), element("td", typeOf(field) + (isNeeded ? "" : ", optional")), prose("td", field.description ?? ""));
    rows.append(row);
  }
  return rows;
}

for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(/** @type {Schema} */ (methods))) {
    const section = element("section");
    section.append(element("h2", `${method.toUpperCase()} ${path}`), prose("p", operation.summary), prose("p", operation.description ?? ""));
    if (operation.parameters) {
      const asked = element("table");
      for (const one of operation.parameters) {
        const row = element("tr"), suffix = one.required ? "" : ", optional";
        row.append(element("th", one.name), element("td", typeOf(one.schema) + suffix), element("td", `in the ${one.in}`));
        asked.append(row);
      }
      section.append(element("h3", "Parameters"), asked);
    }
    const body = operation.requestBody?.content?.["multipart/form-data"]?.schema;
    if (body) section.append(element("h3", "Fields (multipart/form-data)"), table(resolved(body)));
    const answers = element("table");
    for (const [status, answer] of Object.entries(operation.responses)) {
      const row = element("tr"), schema = answer.content?.["application/json"]?.schema ?? {};
      row.append(element("th", status), prose("td", answer.description), element("td", schema.$ref ? typeOf(schema) : ""));
      answers.append(row);
    }
    section.append(element("h3", "Answers"), answers);
    byId("docs").append(section);
  }
}
for (const [name, schema] of Object.entries(api.components.schemas)) {
  if (name.startsWith("Body_") || !schema.properties) continue;
  const section = element("section");
  section.append(element("h2", name), prose("p", schema.description ?? ""), table(schema));
  byId("docs").append(section);
}

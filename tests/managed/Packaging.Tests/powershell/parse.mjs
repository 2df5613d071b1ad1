// Parses the PowerShell script named on the command line and prints what the test asserts on, as JSON:
//   problems  the places that are no valid PowerShell ("line 7: ..."), empty for a good script
//   tasks     the values that -Task accepts
//   handled   the values that the switch over $Task handles
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Language, Parser } from "web-tree-sitter";

const require = createRequire(import.meta.url);
await Parser.init();
const language = await Language.load(require.resolve("tree-sitter-powershell/tree-sitter-powershell.wasm"));
const parser = new Parser();
parser.setLanguage(language);
const root = parser.parse(readFileSync(process.argv[2], "utf8")).rootNode;

const unquote = (node) => node.text.replace(/^['"]|['"]$/g, "");
const strings = (node) => node.descendantsOfType("string_literal").map(unquote);

function problemsIn(node) {
  if (node.isError) return [`line ${node.startPosition.row + 1}: cannot be parsed: ${node.text.slice(0, 80)}`];
  if (node.isMissing) return [`line ${node.startPosition.row + 1}: ${node.type} is missing`];
  return node.children.flatMap(problemsIn);
}

function acceptedTasks() {
  const parameter = root.descendantsOfType("script_parameter").find((p) => p.descendantsOfType("variable").some((v) => v.text === "$Task"));
  const attribute = parameter?.descendantsOfType("attribute").find((a) => a.text.startsWith("[ValidateSet("));
  return attribute ? strings(attribute) : [];
}

function handledTasks() {
  const statement = root.descendantsOfType("switch_statement").find((s) => s.text.startsWith("switch ($Task)"));
  return (statement?.descendantsOfType("switch_clause_condition") ?? []).map(unquote);
}

console.log(JSON.stringify({ problems: problemsIn(root), tasks: acceptedTasks(), handled: handledTasks() }));

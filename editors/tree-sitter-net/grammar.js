// The grammar of netc for tree-sitter, after dsl/grammar.lark, where each rule is explained.
//
// A scanner decides which newlines end a statement (src/scanner.c): those inside ( ) and [ ], after an operator, and before
// a line that begins with `->` do not. The words in SOFT are names wherever a name may stand.

const PREC = { choose: 1, pipe: 2, or: 3, and: 4, not: 5, compare: 6, add: 7, multiply: 8, unary: 9, power: 10, call: 11 };

const SOFT = [
  "input", "target", "output", "loss", "metric", "param", "state", "update", "watch", "layer",
  "train", "data", "model", "study",
];

const listed = (rule) => seq(rule, repeat(seq(",", rule)));
const trailing = (rule) => seq(listed(rule), optional(","));
const lines = (rule, newline) => seq(optional(newline), optional(seq(rule, repeat(seq(newline, rule)), optional(newline))));
const braced = ($, rule) => seq("{", lines(rule, $._newline), "}");

module.exports = grammar({
  name: "net",
  extras: ($) => [/[ \t\r\n]/, $.comment],
  externals: ($) => [$._newline, $._point, $._error_sentinel],
  inline: ($) => [$._name],
  word: ($) => $.identifier,
  rules: {
    source_file: ($) => lines($._item, $._newline),
    _item: ($) =>
      choice($.let, $.import, $.block, $.layer, $.op, $.data, $.train, $.study, $.model),

    // items
    let: ($) => seq("let", field("name", $._name), "=", field("value", $._expression)),
    import: ($) => seq("import", field("path", $.string), optional(seq("as", field("alias", $._name)))),
    block: ($) =>
      seq("block", field("name", $._name), "(", optional(trailing($.parameter)), ")", field("body", $.body)),
    parameter: ($) =>
      seq(field("name", $._name), optional(seq(":", field("type", $.type))), optional(seq("=", field("default", $._expression)))),
    layer: ($) => seq("layer", field("name", $._name), "=", field("value", $._expression)),
    op: ($) => seq("op", field("name", $._name), "(", listed($._name), ")", "=", field("value", $._expression)),
    data: ($) => seq("data", braced($, $.setting)),
    train: ($) => seq("train", braced($, $.setting)),
    study: ($) => seq("study", braced($, $.study_setting)),
    model: ($) => seq("model", field("body", $.body)),
    setting: ($) => seq(field("name", $._name), "=", field("value", $._expression)),
    study_setting: ($) =>
      seq(field("name", $._name), "=", field("value", $._expression), optional(seq("if", field("condition", $._expression)))),

    // statements
    body: ($) => braced($, $._statement),
    _statement: ($) =>
      choice(
        $.declaration, $.output, $.loss, $.metric, $.watch, $.param, $.state, $.update, $.layer,
        $.return, $.yield, $.for, $.assignment,
      ),
    declaration: ($) =>
      seq(choice("input", "target"), field("name", $._name), ":", field("type", $.type)),
    output: ($) => seq("output", field("name", $._name), "=", field("value", $._expression)),
    loss: ($) => seq("loss", optional(seq(field("name", $._name), "=")), field("value", $._expression)),
    metric: ($) => seq("metric", optional(seq(field("name", $._name), "=")), field("value", $._expression)),
    watch: ($) => seq("watch", field("name", $._name), "=", field("value", $._expression)),
    param: ($) =>
      seq(
        "param", field("name", $._name), ":", field("type", $.type),
        optional(seq("=", field("initial", $._expression))), repeat(seq(",", $.option)),
      ),
    option: ($) => seq(field("name", $._name), "=", field("value", $._expression)),
    state: ($) =>
      seq("state", field("name", $._name), ":", field("type", $.type), optional(seq("=", field("initial", $._expression)))),
    update: ($) => seq("update", field("name", $._name), "=", field("value", $._expression)),
    return: ($) => seq("return", listed($._expression)),
    yield: ($) => seq("yield", listed($._expression)),
    for: ($) => seq("for", field("name", $._name), "in", $.range, field("body", $.body)),
    assignment: ($) =>
      seq(listed(field("name", $._name)), optional(seq(":", field("type", $.type))), "=", field("value", $._expression)),

    // types
    type: ($) =>
      choice(
        seq(field("kind", $._name), optional($.dimensions)),
        seq(field("kind", "class"), "(", field("size", $._expression), ")", optional($.dimensions)),
      ),
    dimensions: ($) => seq("[", trailing(choice($._expression, $.leading)), "]"),
    leading: () => "...",

    // expressions
    _expression: ($) =>
      choice(
        $.choose, $.pipe, $.binary, $.unary, $.call, $.index, $.attribute,
        $._name, $.number, $.string, $.group, $.tuple, $.list, $.scan,
      ),
    choose: ($) =>
      prec.right(PREC.choose, seq(
        field("then", $._expression), "if", field("condition", $._expression), "else", field("otherwise", $._expression),
      )),
    pipe: ($) => prec.left(PREC.pipe, seq(field("value", $._expression), "->", field("into", $._into))),
    _into: ($) => choice($._path, alias($.applied, $.call)),
    applied: ($) => prec(PREC.call, seq(field("function", $._path), field("arguments", $.arguments))),
    _path: ($) => choice($._name, alias($.path, $.attribute)),
    path: ($) => prec.left(PREC.call, seq($._path, ".", field("name", $._name))),
    binary: ($) =>
      choice(
        ...[
          [PREC.or, "or"], [PREC.and, "and"],
          [PREC.add, choice("+", "-")], [PREC.multiply, choice("*", "/", "//", "@", "%")],
          [PREC.compare, choice("<=", ">=", "==", "!=", "<", ">")],
        ].map(([level, operator]) =>
          prec.left(level, seq(field("left", $._expression), field("operator", operator), field("right", $._expression)))),
        prec.right(PREC.power, seq(field("left", $._expression), field("operator", "**"), field("right", $._expression))),
      ),
    unary: ($) =>
      choice(
        prec(PREC.not, seq(field("operator", "not"), field("operand", $._expression))),
        prec(PREC.unary, seq(field("operator", "-"), field("operand", $._expression))),
      ),
    call: ($) => prec(PREC.call, seq(field("function", $._expression), field("arguments", $.arguments))),
    arguments: ($) => seq("(", optional(trailing(choice($._expression, $.argument, $.leading))), ")"),
    argument: ($) => seq(field("name", choice($._name, $.string)), "=", field("value", $._expression)),
    index: ($) => prec(PREC.call, seq(field("value", $._expression), "[", trailing(choice($._expression, $.slice)), "]")),
    slice: ($) => seq(optional(field("start", $._expression)), ":", optional(field("stop", $._expression))),
    attribute: ($) => prec(PREC.call, seq(field("value", $._expression), ".", field("name", $._name))),
    group: ($) => seq("(", $._expression, ")"),
    tuple: ($) =>
      choice(
        seq("(", choice($._expression, $.argument), ",", optional(trailing(choice($._expression, $.argument))), ")"),
        seq("(", $.argument, ")"),
      ),
    list: ($) => seq("[", optional(trailing($._expression)), "]"),
    scan: ($) =>
      seq(
        "scan", listed(field("name", $._name)), "in", choice($.range, listed($._expression)),
        optional(seq("until", field("until", $._expression))),
        optional(seq("with", listed($.carry))),
        field("body", $.body),
      ),
    range: ($) => seq(field("start", $._expression), "..", field("stop", $._expression)),
    carry: ($) => seq(field("name", $._name), "=", field("value", $._expression)),

    // words
    _name: ($) => choice($.identifier, alias($.soft, $.identifier)),
    soft: () => choice(...SOFT),
    // any characters but those of ASCII that are not letters, digits or `_`; netc itself refuses some of the others
    identifier: () => /[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f][^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]*/,
    // in `0..n` the number ends before the first point, which the scanner finds out
    number: ($) =>
      choice(
        token(/(\d+(_\d+)*)?\.\d+([eE][-+]?\d+)?/),
        token(/\d+(_\d+)*([eE][-+]?\d+)?/),
        seq(token(/\d+(_\d+)*/), $._point, optional(token.immediate(/[eE][-+]?\d+/))),
      ),
    string: ($) => seq('"', repeat(choice($.escape, token.immediate(prec(1, /[^"\\\n]+/)))), '"'),
    escape: () => token.immediate(/\\(u\{[0-9a-fA-F]+\}|[^\n])/),
    comment: () => token(/#[^\n]*/),
  },
});

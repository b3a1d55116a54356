; The last pattern that matches a name decides, so the most general one stands first.
(identifier) @variable

(comment) @comment
(string) @string
(escape) @string.escape
(number) @number

["let" "block" "op" "layer" "input" "target" "output" "loss" "metric" "watch" "param" "state" "update"] @keyword
["data" "train" "study" "model"] @keyword
["import" "as"] @keyword.import
["return" "yield"] @keyword.return
["scan" "for" "in" "until" "with"] @keyword.repeat
["if" "else"] @keyword.conditional
["and" "or" "not"] @keyword.operator
["->" "=" "+" "-" "*" "/" "//" "@" "%" "**" "<=" ">=" "==" "!=" "<" ">" ".."] @operator
(leading) @operator
["(" ")" "[" "]" "{" "}"] @punctuation.bracket
["," ":" "."] @punctuation.delimiter

(dimensions (identifier) @type.parameter)
(type kind: _ @type)
(block name: (identifier) @function)
(op name: (identifier) @function)
(pipe into: (identifier) @function.call)
(call function: (identifier) @function.call)
(attribute name: (identifier) @property)
(parameter name: (identifier) @variable.parameter)
(argument name: (identifier) @variable.parameter)
(setting name: (identifier) @property)
(study_setting name: (identifier) @property)
((identifier) @constant.builtin
  (#any-of? @constant.builtin "true" "false" "yes" "no" "training"))

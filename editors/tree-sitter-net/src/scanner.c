// Decides which newlines end a statement, as parser.py does for netc itself, and whether a point belongs to a number.
//
// A newline is a token only where the grammar allows one. It is none if the next line of code begins with `->`.
#include "tree_sitter/parser.h"

enum Token { NEWLINE, POINT, ERROR_SENTINEL };

void *tree_sitter_net_external_scanner_create(void) { return NULL; }
void tree_sitter_net_external_scanner_destroy(void *payload) { (void)payload; }
unsigned tree_sitter_net_external_scanner_serialize(void *payload, char *buffer) {
  (void)payload;
  (void)buffer;
  return 0;
}
void tree_sitter_net_external_scanner_deserialize(void *payload, const char *buffer, unsigned length) {
  (void)payload;
  (void)buffer;
  (void)length;
}

bool tree_sitter_net_external_scanner_scan(void *payload, TSLexer *lexer, const bool *valid) {
  (void)payload;
  if (valid[ERROR_SENTINEL]) return false;  // valid only while errors are mended
  if (valid[POINT] && lexer->lookahead == '.') {  // of `1.`, not of `1..n`
    lexer->advance(lexer, false);
    lexer->mark_end(lexer);
    lexer->result_symbol = POINT;
    return lexer->lookahead != '.';
  }
  if (!valid[NEWLINE]) return false;
  while (lexer->lookahead == ' ' || lexer->lookahead == '\t' || lexer->lookahead == '\r') lexer->advance(lexer, true);
  if (lexer->lookahead != '\n') return false;  // a comment is read first, by the grammar
  lexer->advance(lexer, true);
  lexer->mark_end(lexer);
  lexer->result_symbol = NEWLINE;
  for (;;) {
    switch (lexer->lookahead) {
      case ' ':
      case '\t':
      case '\r':
      case '\n':
        lexer->advance(lexer, true);
        break;
      case '#':
        while (lexer->lookahead != '\n' && !lexer->eof(lexer)) lexer->advance(lexer, true);
        break;
      case '-':
        lexer->advance(lexer, true);
        return lexer->lookahead != '>';
      default:
        return true;
    }
  }
}

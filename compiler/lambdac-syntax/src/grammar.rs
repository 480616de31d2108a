//! The generated parser; private to the crate.

#[derive(pest_derive::Parser)]
#[grammar = "../../../lang-spec/grammar.pest"]
pub(crate) struct Grammar;

/// Tokens that say nothing to the tree builder.
pub(crate) fn is_noise(rule: Rule) -> bool {
    use Rule as R;
    matches!(
        rule,
        R::EOI
            | R::semi
            | R::comma
            | R::colon
            | R::path_sep
            | R::dot
            | R::dotdot
            | R::arrow
            | R::fat_arrow
            | R::bar
            | R::at
            | R::lt
            | R::gt
            | R::lparen
            | R::rparen
            | R::lbrack
            | R::rbrack
            | R::lbrace
            | R::rbrace
            | R::assign
            | R::kw_use
            | R::kw_const
            | R::kw_enum
            | R::kw_struct
            | R::kw_header
            | R::kw_param
            | R::kw_state
            | R::kw_counter
            | R::kw_table
            | R::kw_service
            | R::kw_fn
            | R::kw_lambda
            | R::kw_match
            | R::kw_test
            | R::kw_expect
            | R::kw_given
            | R::kw_with
            | R::kw_bytes
            | R::kw_let
            | R::kw_if
            | R::kw_else
            | R::kw_for
            | R::kw_in
            | R::kw_while
            | R::kw_max
            | R::kw_return
            | R::kw_reply
            | R::kw_break
            | R::kw_continue
            | R::kw_drop
            | R::kw_punt
            | R::kw_await
            | R::kw_include
    )
}

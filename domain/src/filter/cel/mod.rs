pub(super) fn parse(source: &str) -> Result<super::expr::Expr, super::limits::Unfit> {
    Err(super::limits::Unfit::new(0, source))
}

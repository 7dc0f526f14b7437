use posthorn_domain::filter::{Atom, Comparison, Filter, Literal, Place, Test};

pub(super) fn atoms(filter: &Filter) -> Vec<Atom> {
    let each = |comparisons: &[Comparison], test: fn(Box<str>) -> Test| {
        let atom = |wanted: &Comparison| Atom {
            place: Place::Attribute(wanted.attribute.as_str().into()),
            test: test(wanted.text.as_str().into()),
        };
        comparisons.iter().map(atom).collect()
    };
    match filter {
        Filter::Topic(pattern) => {
            let topic = |test| vec![Atom { place: Place::Attribute("topic".into()), test }];
            pattern.as_exact().map_or_else(Vec::new, |text| topic(Test::Equals(Literal::Text(text.into()))))
        }
        Filter::Exact(comparisons) => each(comparisons, |text| Test::Equals(Literal::Text(text))),
        Filter::Prefix(comparisons) => each(comparisons, Test::Prefix),
        Filter::Suffix(comparisons) => each(comparisons, Test::Suffix),
        Filter::All(filters) => filters.iter().flat_map(atoms).collect(),
        Filter::Expr(_) => filter.atoms(),
        Filter::Any(_) | Filter::Not(_) => Vec::new(),
    }
}

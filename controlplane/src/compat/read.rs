//! From documents to shapes, each keyword as its draft reads it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use posthorn_domain::schema::{Dialect, Graph};
use serde_json::{Map, Value};

use super::shape::{Array, Bound, Id, Number, Object, Range, Rest, Shape, Shapes, Types};

/// Reads the document of a graph, its references followed; the shape of its root.
pub(super) fn read(graph: &Graph<'_>, formats: bool, shapes: &mut Shapes) -> Id {
    let mut reader = Reader { graph, formats, shapes, known: HashMap::new() };
    let dialect = graph.dialect(graph.root());
    reader.shape(graph.root(), dialect)
}

struct Reader<'g, 's, 'o> {
    graph: &'g Graph<'s>,
    formats: bool,
    shapes: &'o mut Shapes,
    /// By address, so that a circle closes.
    known: HashMap<usize, Id>,
}

impl<'s> Reader<'_, 's, '_> {
    fn shape(&mut self, schema: &'s Value, dialect: Dialect) -> Id {
        let address = std::ptr::from_ref(schema).addr();
        if let Some(id) = self.known.get(&address) {
            return *id;
        }
        let id = self.shapes.add(Shape::default());
        self.known.insert(address, id);
        let shape = match schema {
            Value::Object(keywords) => self.keywords(schema, keywords, self.dialect_of(schema, dialect)),
            Value::Bool(false) => Shape { never: true, ..Shape::default() },
            _ => Shape::default(),
        };
        self.shapes.put(id, shape);
        id
    }

    /// Subschemas that no graph visited are of the draft around them.
    fn dialect_of(&self, schema: &Value, around: Dialect) -> Dialect {
        if schema.get("$schema").is_some() { self.graph.dialect(schema) } else { around }
    }

    fn keywords(&mut self, schema: &'s Value, keywords: &'s Map<String, Value>, dialect: Dialect) -> Shape {
        let mut shape = Shape::default();
        self.references(schema, keywords, &mut shape);
        if dialect <= Dialect::Draft7 && keywords.contains_key("$ref") {
            return shape;
        }
        scalar(keywords, dialect, &mut shape);
        if self.formats {
            shape.formats.extend(keywords.get("format").and_then(Value::as_str).map(str::to_owned));
        }
        if matches!(dialect, Dialect::Draft6 | Dialect::Draft7) {
            opaque(keywords, &["contentMediaType", "contentEncoding"], &mut shape);
        }
        self.combined(keywords, dialect, &mut shape);
        self.array(keywords, dialect, &mut shape);
        self.object(keywords, dialect, &mut shape);
        shape
    }

    fn references(&mut self, schema: &'s Value, keywords: &Map<String, Value>, shape: &mut Shape) {
        let targets = self.graph.targets(schema);
        let refers = keywords.contains_key("$ref");
        let dynamic = ["$dynamicRef", "$recursiveRef"].iter().any(|keyword| keywords.contains_key(*keyword));
        match targets {
            [target] if refers != dynamic && !keywords.contains_key("$recursiveRef") => {
                let dialect = self.graph.dialect(target);
                shape.all.push(self.shape(target, dialect));
            }
            [] if !refers && !dynamic => {}
            _ => opaque(keywords, &["$ref", "$dynamicRef", "$recursiveRef"], shape),
        }
    }

    fn combined(&mut self, keywords: &'s Map<String, Value>, dialect: Dialect, shape: &mut Shape) {
        let list = |keyword: &str| keywords.get(keyword).and_then(Value::as_array);
        for schema in list("allOf").into_iter().flatten() {
            shape.all.push(self.shape(schema, dialect));
        }
        if let Some(schemas) = list("anyOf") {
            shape.any.push(schemas.iter().map(|schema| self.shape(schema, dialect)).collect());
        }
        if let Some(schemas) = list("oneOf") {
            shape.one.push(schemas.iter().map(|schema| self.shape(schema, dialect)).collect());
        }
        shape.not.extend(keywords.get("not").map(|schema| self.shape(schema, dialect)));
        if dialect >= Dialect::Draft7
            && let Some(condition) = keywords.get("if")
        {
            let mut branch = |keyword: &str| keywords.get(keyword).map(|schema| self.shape(schema, dialect));
            let (then, other) = (branch("then"), branch("else"));
            if then.is_some() || other.is_some() {
                let condition = self.shape(condition, dialect);
                shape.cond.push((condition, then, other));
            }
        }
    }

    fn array(&mut self, keywords: &'s Map<String, Value>, dialect: Dialect, shape: &mut Shape) {
        let mut array = Array { size: range(keywords, "minItems", "maxItems"), ..Array::default() };
        array.unique = keywords.get("uniqueItems") == Some(&Value::Bool(true));
        let (prefix, rest) = match (dialect, keywords.get("items")) {
            (Dialect::Draft202012, rest) => (keywords.get("prefixItems"), rest),
            (_, Some(prefix @ Value::Array(_))) => (Some(prefix), keywords.get("additionalItems")),
            (_, rest) => (None, rest),
        };
        for schema in prefix.and_then(Value::as_array).into_iter().flatten() {
            array.prefix.push(self.shape(schema, dialect));
        }
        array.rest = rest.map(|schema| self.shape(schema, dialect));
        if dialect >= Dialect::Draft6
            && let Some(schema) = keywords.get("contains")
        {
            let counted = dialect >= Dialect::Draft201909;
            let mut count = if counted { range(keywords, "minContains", "maxContains") } else { Range::default() };
            if !counted || !keywords.contains_key("minContains") {
                count.min = 1;
            }
            array.contains.push((self.shape(schema, dialect), count));
        }
        if dialect >= Dialect::Draft201909 && keywords.get("unevaluatedItems").is_some_and(|schema| !says_nothing(schema)) {
            opaque(keywords, &["unevaluatedItems"], shape);
        }
        if array != Array::default() {
            shape.array = Some(Arc::new(array));
        }
    }

    fn object(&mut self, keywords: &'s Map<String, Value>, dialect: Dialect, shape: &mut Shape) {
        let map = |keyword: &str| keywords.get(keyword).and_then(Value::as_object).into_iter().flatten();
        let mut object = Object { size: range(keywords, "minProperties", "maxProperties"), ..Object::default() };
        object.required.extend(strings(keywords.get("required")));
        for (name, schema) in map("properties") {
            let id = self.shape(schema, dialect);
            object.members.insert(name.clone(), id);
        }
        for (pattern, schema) in map("patternProperties") {
            let id = self.shape(schema, dialect);
            object.patterns.push((pattern.clone(), id));
        }
        if let Some(schema) = keywords.get("additionalProperties") {
            object.rest.push(Rest {
                but: object.members.keys().cloned().collect(),
                but_patterns: object.patterns.iter().map(|(pattern, _)| pattern.clone()).collect(),
                shape: self.shape(schema, dialect),
            });
        }
        if dialect >= Dialect::Draft6 {
            object.names.extend(keywords.get("propertyNames").map(|schema| self.shape(schema, dialect)));
        }
        for (name, needed) in map("dependencies").chain(map("dependentRequired").filter(|_| dialect >= Dialect::Draft201909)) {
            match needed {
                Value::Array(_) => object.needs.entry(name.clone()).or_default().extend(strings(Some(needed))),
                Value::String(one) => drop(object.needs.entry(name.clone()).or_default().insert(one.clone())),
                schema => object.with.push((name.clone(), self.shape(schema, dialect))),
            }
        }
        for (name, schema) in map("dependentSchemas").filter(|_| dialect >= Dialect::Draft201909) {
            object.with.push((name.clone(), self.shape(schema, dialect)));
        }
        if dialect >= Dialect::Draft201909 {
            self.unevaluated(keywords, dialect, &mut object, shape);
        }
        if object != Object::default() {
            shape.object = Some(Arc::new(object));
        }
    }

    /// Understood where all that could evaluate members is seen at once: own members and those of `allOf` and references.
    fn unevaluated(&mut self, keywords: &'s Map<String, Value>, dialect: Dialect, object: &mut Object, shape: &mut Shape) {
        let Some(schema) = keywords.get("unevaluatedProperties").filter(|schema| !says_nothing(schema)) else { return };
        let mut seen = Evaluated::default();
        let plain =
            shape.any.is_empty() && shape.one.is_empty() && shape.cond.is_empty() && shape.opaque.is_empty() && object.with.is_empty();
        if !plain || !shape.all.iter().all(|id| self.evaluated(*id, &mut seen, 0)) {
            return opaque(keywords, &["unevaluatedProperties"], shape);
        }
        if seen.everything || !object.rest.is_empty() {
            return;
        }
        seen.names.extend(object.members.keys().cloned());
        seen.patterns.extend(object.patterns.iter().map(|(pattern, _)| pattern.clone()));
        let id = self.shape(schema, dialect);
        object.rest.push(Rest { but: seen.names, but_patterns: seen.patterns, shape: id });
    }

    fn evaluated(&self, id: Id, seen: &mut Evaluated, depth: usize) -> bool {
        let shape = self.shapes.get(id);
        let object = shape.object.as_deref().cloned().unwrap_or_default();
        let plain = shape.any.is_empty() && shape.one.is_empty() && shape.cond.is_empty() && shape.opaque.is_empty();
        // A shape that is still being read is seen empty, so a circle is left to others.
        if depth > 16 || !plain || !object.with.is_empty() || *shape == Shape::default() {
            return false;
        }
        seen.everything |= !object.rest.is_empty();
        seen.names.extend(object.members.keys().cloned());
        seen.patterns.extend(object.patterns.iter().map(|(pattern, _)| pattern.clone()));
        shape.all.iter().all(|id| self.evaluated(*id, seen, depth + 1))
    }
}

#[derive(Default)]
struct Evaluated {
    names: BTreeSet<String>,
    patterns: Vec<String>,
    everything: bool,
}

fn says_nothing(schema: &Value) -> bool {
    matches!(schema, Value::Bool(true)) || schema.as_object().is_some_and(Map::is_empty)
}

fn opaque(keywords: &Map<String, Value>, names: &[&str], shape: &mut Shape) {
    for (name, value) in names.iter().filter_map(|name| Some((*name, keywords.get(*name)?))) {
        let text = value.to_string();
        // The same text with a reference in it may mean something else elsewhere.
        let only_here = if text.contains("Ref\"") || name.ends_with("Ref") || text.contains("$ref") {
            format!(" at {}", std::ptr::from_ref(value).addr())
        } else {
            String::new()
        };
        shape.opaque.push(format!("{name}: {text}{only_here}"));
    }
}

fn scalar(keywords: &Map<String, Value>, dialect: Dialect, shape: &mut Shape) {
    match keywords.get("type") {
        Some(Value::String(name)) => shape.types = Types::named(name),
        Some(Value::Array(names)) => {
            let each = names.iter().filter_map(Value::as_str).map(Types::named);
            shape.types = each.fold(Types::NONE, Types::or);
        }
        _ => {}
    }
    shape.values = keywords.get("enum").and_then(Value::as_array).cloned();
    if dialect >= Dialect::Draft6
        && let Some(value) = keywords.get("const")
    {
        let allowed = shape.values.as_ref().is_none_or(|values| values.iter().any(|one| super::shape::equal(one, value)));
        shape.values = Some(if allowed { vec![value.clone()] } else { Vec::new() });
    }
    let number = |keyword: &str| match keywords.get(keyword) {
        Some(Value::Number(number)) => Some(Number::of(number)),
        _ => None,
    };
    let flag = |keyword: &str| keywords.get(keyword) == Some(&Value::Bool(true));
    let closed = |at| Bound { at, open: false };
    shape.min = number("minimum").map(closed);
    shape.max = number("maximum").map(closed);
    if dialect == Dialect::Draft4 {
        shape.min = shape.min.map(|bound| Bound { open: flag("exclusiveMinimum"), ..bound });
        shape.max = shape.max.map(|bound| Bound { open: flag("exclusiveMaximum"), ..bound });
    } else {
        let open = |at| Bound { at, open: true };
        shape.min = tighter(shape.min, number("exclusiveMinimum").map(open), |a, b| a > b);
        shape.max = tighter(shape.max, number("exclusiveMaximum").map(open), |a, b| a < b);
    }
    shape.multiples.extend(number("multipleOf").map(Number::float));
    shape.length = range(keywords, "minLength", "maxLength");
    shape.patterns.extend(keywords.get("pattern").and_then(Value::as_str).map(str::to_owned));
}

/// The bound that leaves less; `beyond` says whether a number is further in than another.
pub(super) fn tighter(a: Option<Bound>, b: Option<Bound>, beyond: fn(Number, Number) -> bool) -> Option<Bound> {
    match (a, b) {
        (Some(a), Some(b)) if a.at == b.at => Some(Bound { at: a.at, open: a.open || b.open }),
        (Some(a), Some(b)) => Some(if beyond(a.at, b.at) { a } else { b }),
        (a, b) => a.or(b),
    }
}

fn range(keywords: &Map<String, Value>, min: &str, max: &str) -> Range {
    let count = |keyword: &str| match Number::of(keywords.get(keyword).and_then(Value::as_number)?) {
        Number::Int(int) => u64::try_from(int).ok(),
        Number::Float(_) => None,
    };
    Range { min: count(min).unwrap_or(0), max: count(max) }
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

//! A shape as a document of draft 2020-12, for whoever knows only that draft.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::shape::{Array, Bound, Id, Number, Object, Range, Rest, Shape, Shapes, Types};

/// Shapes that are written.
const MAX_SHAPES: usize = 2000;
const NAMES: [(&str, Types); 7] = [
    ("null", Types::NULL),
    ("boolean", Types::BOOL),
    ("number", Types::NUMBER),
    ("integer", Types::INT),
    ("string", Types::STRING),
    ("array", Types::ARRAY),
    ("object", Types::OBJECT),
];

/// The document; `None` where the shape does not say all that its schema says, or is too large.
pub(super) fn written(root: Id, shapes: &Shapes) -> Option<Value> {
    let mut uses: HashMap<Id, usize> = HashMap::from([(root, 1)]);
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        let shape = shapes.get(id);
        if !shape.opaque.is_empty() || !shape.formats.is_empty() || uses.len() > MAX_SHAPES {
            return None;
        }
        for part in shape.parts() {
            let count = uses.entry(part).or_insert(0);
            *count += 1;
            if *count == 1 {
                pending.push(part);
            }
        }
    }
    let writer = Writer { shapes, uses: &uses };
    let mut document = writer.keywords(shapes.get(root));
    let shared = uses.iter().filter(|(_, count)| **count > 1);
    let definitions: Map<String, Value> = shared.map(|(id, _)| (format!("s{id}"), writer.inline(*id))).collect();
    if !document.is_object() {
        document = json!({"allOf": [document]});
    }
    document["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    if !definitions.is_empty() {
        document["$defs"] = definitions.into();
    }
    Some(document)
}

struct Writer<'a> {
    shapes: &'a Shapes,
    uses: &'a HashMap<Id, usize>,
}

impl Writer<'_> {
    fn schema(&self, id: Id) -> Value {
        if self.uses.get(&id).is_some_and(|count| *count > 1) { json!({"$ref": format!("#/$defs/s{id}")}) } else { self.inline(id) }
    }

    fn inline(&self, id: Id) -> Value {
        self.keywords(self.shapes.get(id))
    }

    fn list(&self, ids: &[Id]) -> Value {
        ids.iter().map(|id| self.schema(*id)).collect()
    }

    fn keywords(&self, shape: &Shape) -> Value {
        if shape.never {
            return json!(false);
        }
        let mut out = Map::new();
        scalar(shape, &mut out);
        if let Some(array) = &shape.array {
            self.array(array, &mut out);
        }
        let mut all: Vec<Value> = shape.all.iter().map(|id| self.schema(*id)).collect();
        if let Some(object) = &shape.object {
            self.object(object, &mut out, &mut all);
        }
        all.extend(shape.any.iter().map(|group| json!({"anyOf": self.list(group)})));
        all.extend(shape.one.iter().map(|group| json!({"oneOf": self.list(group)})));
        all.extend(shape.not.iter().map(|id| json!({"not": self.schema(*id)})));
        for (condition, then, other) in &shape.cond {
            let branch = |id: &Option<Id>| id.map_or(json!(true), |id| self.schema(id));
            all.push(json!({"if": self.schema(*condition), "then": branch(then), "else": branch(other)}));
        }
        if !all.is_empty() {
            out.insert("allOf".into(), all.into());
        }
        out.into()
    }

    fn array(&self, array: &Array, out: &mut Map<String, Value>) {
        if !array.prefix.is_empty() {
            out.insert("prefixItems".into(), self.list(&array.prefix));
        }
        if let Some(rest) = array.rest {
            out.insert("items".into(), self.schema(rest));
        }
        if array.unique {
            out.insert("uniqueItems".into(), true.into());
        }
        range(array.size, "minItems", "maxItems", out);
        for (id, count) in &array.contains {
            out.insert("contains".into(), self.schema(*id));
            out.insert("minContains".into(), count.min.into());
            out.extend(count.max.map(|max| ("maxContains".to_owned(), max.into())));
        }
    }

    fn object(&self, object: &Object, out: &mut Map<String, Value>, all: &mut Vec<Value>) {
        let members: Map<String, Value> = object.members.iter().map(|(name, id)| (name.clone(), self.schema(*id))).collect();
        let patterns: Map<String, Value> = object.patterns.iter().map(|(pattern, id)| (pattern.clone(), self.schema(*id))).collect();
        for rest in &object.rest {
            all.push(self.rest(rest));
        }
        for (keyword, map) in [("properties", members), ("patternProperties", patterns)] {
            if !map.is_empty() {
                out.insert(keyword.into(), map.into());
            }
        }
        if !object.required.is_empty() {
            out.insert("required".into(), json!(object.required));
        }
        range(object.size, "minProperties", "maxProperties", out);
        all.extend(object.names.iter().map(|id| json!({"propertyNames": self.schema(*id)})));
        if !object.needs.is_empty() {
            out.insert("dependentRequired".into(), json!(object.needs));
        }
        all.extend(object.with.iter().map(|(name, id)| json!({"dependentSchemas": {name: self.schema(*id)}})));
    }

    fn rest(&self, rest: &Rest) -> Value {
        let anything = |names: &mut dyn Iterator<Item = &String>| -> Value {
            names.map(|name| (name.clone(), json!(true))).collect::<Map<_, _>>().into()
        };
        json!({"properties": anything(&mut rest.but.iter()), "patternProperties": anything(&mut rest.but_patterns.iter()),
            "additionalProperties": self.schema(rest.shape)})
    }
}

fn scalar(shape: &Shape, out: &mut Map<String, Value>) {
    if shape.types != Types::ALL {
        let mut left = shape.types;
        let mut names = Vec::new();
        for (name, types) in NAMES {
            if left.holds(types) {
                names.push(name);
                left = left.without(types);
            }
        }
        out.insert("type".into(), json!(names));
    }
    if let Some(values) = &shape.values {
        out.insert("enum".into(), json!(values));
    }
    let bounds = [(shape.min, "minimum", "exclusiveMinimum"), (shape.max, "maximum", "exclusiveMaximum")];
    for (bound, closed, open) in bounds {
        out.extend(bound.map(|Bound { at, open: is_open }| (if is_open { open } else { closed }.to_owned(), number(at))));
    }
    out.extend(shape.multiples.first().map(|multiple| ("multipleOf".to_owned(), json!(multiple))));
    range(shape.length, "minLength", "maxLength", out);
    out.extend(shape.patterns.first().map(|pattern| ("pattern".to_owned(), json!(pattern))));
}

fn number(at: Number) -> Value {
    match at {
        Number::Int(int) => i64::try_from(int).map_or_else(|_| json!(int as f64), Value::from),
        Number::Float(float) => json!(float),
    }
}

fn range(range: Range, min: &str, max: &str, out: &mut Map<String, Value>) {
    if range.min > 0 {
        out.insert(min.into(), range.min.into());
    }
    out.extend(range.max.map(|most| (max.to_owned(), most.into())));
}

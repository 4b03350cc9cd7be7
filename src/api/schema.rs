//! Schemas of fields that their types alone do not describe.

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Schema,
    SchemaFormat, SchemaType, Type,
};

/// What a replica's name may be.
const NAME: &str = "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9_-])?$";

/// Names of replicas to add.
pub fn new_names() -> Schema {
    let name = ObjectBuilder::new().schema_type(Type::String);
    ArrayBuilder::new()
        .items(name.pattern(Some(NAME)))
        .unique_items(true)
        .max_items(Some(1024))
        .description(Some(
            "Names of the first of them; the others get random ones.",
        ))
        .build()
        .into()
}

/// Weights by name.
pub fn weights() -> Schema {
    let weight = ObjectBuilder::new().schema_type(Type::Integer);
    let weight = weight.minimum(Some(1)).maximum(Some(1000));
    let name = ObjectBuilder::new().schema_type(Type::String);
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(name.pattern(Some(NAME))))
        .additional_properties(Some(AdditionalProperties::from(Schema::from(weight))))
        .description(Some("Weights by name."))
        .into()
}

/// The name of a strategy.
pub fn strategy() -> Schema {
    let names = [
        "classic",
        "quadratic",
        "modulo",
        "ring",
        "maglev",
        "rendezvous",
    ];
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names))
        .description(Some("The strategy's name on the command line."))
        .into()
}

/// How far above its share a replica may be loaded, or that there is no bound.
pub fn balance_factor() -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Number);
    let number = number
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Double)))
        .minimum(Some(1.001))
        .maximum(Some(100.0));
    let none = ObjectBuilder::new().schema_type(Type::String);
    let null = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null));
    OneOfBuilder::new()
        .item(number)
        .item(none.enum_values(Some(["none"])))
        .item(null)
        .description(Some(
            "A number; or null or \"none\", which lifts the bound.",
        ))
        .into()
}

/// Where a request's key comes from.
pub fn key_source() -> Schema {
    let allowed =
        r#"^(id|path|client-ip|(header|cookie):[A-Za-z0-9!#$%&'*+.^_`|~-]+|query:[!"$%'-<>-~]+)$"#;
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .pattern(Some(allowed))
        .examples(["header:X-User-Id"])
        .description(Some(
            "What is hashed for a request, as `--key` has it: most keys belong to another replica \
             afterwards.",
        ))
        .into()
}

//! An account's region: what AWS counts there, and what things are called there, is the same for every role of it.

use super::client::Place;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    /// Left out: the controller's own, which nothing but a request would tell.
    id: Option<String>,
    region: String,
}

impl From<&Place> for Account {
    /// A role's ARN has the account in its fifth part ("IAM identifiers": `arn:partition:service:region:account:resource`).
    fn from(place: &Place) -> Account {
        let arn = place.role.as_ref().map(|role| role.arn.as_str());
        let id = arn.and_then(|arn| arn.split(':').nth(4)).map(str::to_owned);
        Account { id, region: place.region.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::stack::AssumeRole;

    #[test]
    fn two_roles_of_an_account_are_of_one_and_those_of_two_are_not() {
        let of = |arn: &str, region: &str| {
            let role = Some(AssumeRole { arn: arn.into(), external_id: Some(arn.into()) });
            Account::from(&Place { region: region.into(), role })
        };
        let one = of("arn:aws:iam::111111111111:role/deploy", "eu-west-1");
        assert_eq!(one, of("arn:aws:iam::111111111111:role/a/path/other", "eu-west-1"));
        assert_ne!(one, of("arn:aws:iam::222222222222:role/deploy", "eu-west-1"));
        assert_ne!(one, of("arn:aws:iam::111111111111:role/deploy", "eu-west-2"));
        assert_ne!(one, Account::from(&Place::from("eu-west-1")));
    }
}

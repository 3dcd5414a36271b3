//! Where a stack is: an account's region, and the role it is seen with.

use crate::spec::{Stack, stack::AssumeRole};

/// Where, and as whom: stacks that have both in common share their clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub region: String,
    /// Left out: the controller's own identity.
    pub role: Option<AssumeRole>,
}

impl From<&Stack> for Place {
    fn from(stack: &Stack) -> Place {
        Place { region: stack.region.clone(), role: stack.assume_role.clone() }
    }
}

impl From<&str> for Place {
    fn from(region: &str) -> Place {
        Place { region: region.to_owned(), role: None }
    }
}

/// An account's region: what AWS counts there, and what things are called there, is the same for every role.
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

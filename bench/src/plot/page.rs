//! A suite's part of the page.

use super::Shown;
use crate::measure::Report;

/// Figures, tables, commands and machine in Markdown. `prefix`: what stands before a figure's name in a link.
pub(super) fn part(report: &Report, shown: &Shown, prefix: &str) -> String {
    let figures = shown.figures.iter().map(|(name, _)| {
        let words = name.trim_end_matches(".svg").replace('-', " ");
        format!("![{words}]({prefix}{name})\n\n")
    });
    let machine = report.machine.to_string();
    let machine = machine.lines().map(|line| format!("{line}\n"));
    format!(
        "{}{}\n```text\n{}\n{}```\n",
        figures.collect::<String>(),
        shown.tables,
        report.command,
        machine.collect::<String>()
    )
}

/// `page` with what is between the marks of `suite` replaced by `part`; `None` if the marks are not there.
pub(super) fn fill(page: &str, suite: &str, part: &str) -> Option<String> {
    let begin = format!("<!-- begin {suite} -->");
    let end = format!("<!-- end {suite} -->");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{part}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes_and_doing_it_again_changes_nothing() {
        let page = "top\n<!-- begin crypto -->old<!-- end crypto -->\nbottom\n";
        let filled = fill(page, "crypto", "new\n").unwrap();
        assert_eq!(
            filled,
            "top\n<!-- begin crypto -->\n\nnew\n\n<!-- end crypto -->\nbottom\n"
        );
        assert_eq!(fill(&filled, "crypto", "new\n").unwrap(), filled);
    }

    #[test]
    fn a_page_without_marks_is_left_alone() {
        assert_eq!(fill("<!-- begin crypto -->", "crypto", "new"), None);
        assert_eq!(fill("", "wire", "new"), None);
    }
}

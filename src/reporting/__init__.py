"""The report: sections, tables and plots.

render             the pages' templates: environment and filters
html_report        report.html, one self-contained page, from templates/
drawings           line drawings within a page, as SVG
summary            the opening: the result in a sentence and a table
condition_section  the condition task's section
severity_section   the severity task's section
site_pictures      graded sites in all their views, wrong and right ones
paired_section     which backbone is better: paired differences
location_section   the location task's section
matrix_tables      confusion matrices as tables of the page
data_section       the data: counts, grades, rejects
cost_section       what training costs, beside what it brings
commands_section   the commands that made the report
tables             Table 2, baselines, leakage, runs
plots              the figures
preview            preview.png: a study's slices and crops
contact_sheets     contact_sheet_*.png: crops by condition, level and grade
suspect_pictures   suspects.png: points that contradict each other
paper_results      the paper's numbers
study_page       a page a study: grades, pictures, doubt
study_index      index.html: all studies, the most doubtful first
grade_cells      a study's findings in the words of a page
slice_pictures   slices embedded once, crops as windows into them
sagittal_overview  the levels and the axial slices' lines
"""
